//! Steps of a check run: what each one counted, and the closing sum.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

use anyhow::Result;
use ipfix_balancer_tests::lab::SKIPPED;

/// How many checks passed, failed, and were not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Totals {
    /// A step that is one check.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// A step that failed as a whole.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Reads the line `test result: ok. 3 passed; 0 failed; 1 ignored; ...` of a test program.
    pub fn from_test_result(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut totals = Self::default();
        for count in counts.split("; ") {
            let (number, what) = count.split_once(' ')?;
            match what {
                "passed" => totals.passed = number.parse().ok()?,
                "failed" => totals.failed = number.parse().ok()?,
                "ignored" => totals.skipped = number.parse().ok()?,
                _ => {}
            }
        }
        Some(totals)
    }
}

/// Counts what test programs print, line by line.
///
/// A test that finds out by itself that it can't run here returns, and its program counts it as
/// passed; but it has said so before.
#[derive(Debug, Default)]
pub struct TestOutput {
    totals: Totals,
    skipped: u64,
}

impl TestOutput {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        // Not at its beginning: the program may have left its own line unfinished.
        if line.contains(&format!(" {SKIPPED}")) {
            self.skipped += 1;
        } else if let Some(result) = Totals::from_test_result(line) {
            let skipped = std::mem::take(&mut self.skipped).min(result.passed);
            self.totals += Totals {
                passed: result.passed - skipped,
                skipped: result.skipped + skipped,
                ..result
            };
        }
    }

    /// The sum of all programs that have ended.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Runs steps one after another and keeps their results; a failed one does not stop the others.
#[derive(Default)]
pub struct Report {
    rows: Vec<(String, Duration, Totals)>,
}

impl Report {
    /// Runs one step. An error is shown and counted as one failed check.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Totals>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let totals = work().unwrap_or_else(|error| {
            eprintln!("{name}: {error:#}");
            Totals::FAILED
        });
        self.rows.push((name.to_owned(), start.elapsed(), totals));
    }

    /// The sum over all steps so far.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for (_, _, totals) in &self.rows {
            sum += *totals;
        }
        sum
    }

    /// Shows each step's result, then the sum alone on the last line.
    pub fn print(&self) {
        println!("\n{:<12} {:>8}  result", "step", "seconds");
        for (name, time, totals) in &self.rows {
            println!("{name:<12} {:>8.1}  {totals}", time.as_secs_f64());
        }
        println!("\n{}", self.totals());
    }
}

#[cfg(test)]
mod tests {
    use super::{TestOutput, Totals};

    #[test]
    fn reads_the_result_line_of_a_test_program() {
        let line = "test result: FAILED. 31 passed; 2 failed; 1 ignored; 0 measured; \
                    4 filtered out; finished in 0.52s";
        let expected = Totals { passed: 31, failed: 2, skipped: 1 };
        assert_eq!(Totals::from_test_result(line), Some(expected));
    }

    #[test]
    fn tests_that_skip_themselves_have_not_passed() {
        let mut output = TestOutput::default();
        output.line("running 3 tests");
        output.line("a::test skipped: needs root");
        output.line("test a::test ... ok");
        output.line("..b::test skipped: needs a kernel with VLANs (8021q)");
        output.line("test c::skipped: ... ok");
        assert_eq!(output.totals(), Totals::default());
        output.line("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured");
        let first = Totals { passed: 1, failed: 0, skipped: 3 };
        assert_eq!(output.totals(), first);
        output.line("test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured");
        assert_eq!(output.totals(), Totals { passed: 6, failed: 1, skipped: 3 });
    }

    #[test]
    fn leaves_other_lines_alone() {
        assert_eq!(Totals::from_test_result("test result_is_kept ... ok"), None);
    }
}
