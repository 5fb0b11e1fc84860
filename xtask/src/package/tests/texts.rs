//! Manual pages and completions, read by the programs that they are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use ipfix_balancer_tests::daemon::outcome;

use super::packages;
use crate::workspace::output;

#[test]
fn man_shows_every_page_without_a_complaint() {
    let generated = packages().unwrap().generated();
    for section in ["man5", "man8"] {
        for page in fs::read_dir(generated.join(section)).unwrap() {
            shows(&page.unwrap().path()).unwrap();
        }
    }
}

fn shows(page: &Path) -> Result<()> {
    let mut command = Command::new("man");
    // Lines of examples may be long.
    command.args(["--warnings=mac,char,missing,reg,syntax", "--local-file"]).arg(page);
    let shown = outcome(command.env("MANWIDTH", "200"))?;
    ensure!(shown.code == 0 && shown.stderr.is_empty(), "{}: {}", page.display(), shown.stderr);
    let name = page.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(shown.stdout.contains(&*name), "{}: {}", page.display(), shown.stdout);
    Ok(())
}

#[test]
fn bash_completes_subcommands() {
    let script = "source \"$1\"; COMP_WORDS=(ipfix-balancer st); COMP_CWORD=1
        _ipfix__balancer ipfix-balancer st ipfix-balancer; echo \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(completion("ipfix-balancer.bash"));
    assert_eq!(output(&mut command).unwrap().trim(), "status stop");
}

#[test]
fn fish_completes_subcommands() {
    let script = "source $argv[1]; complete --do-complete 'ipfix-balancer sta'";
    let mut command = Command::new("fish");
    command.args(["--no-config", "-c", script]).arg(completion("ipfix-balancer.fish"));
    assert!(output(&mut command).unwrap().starts_with("status\t"));
}

#[test]
fn zsh_reads_its_completions() {
    let mut command = Command::new("zsh");
    command.args(["--no-rcs", "-n"]).arg(completion("_ipfix-balancer"));
    let read = outcome(&mut command).unwrap();
    assert_eq!((read.code, read.stderr.as_str()), (0, ""));
}

fn completion(name: &str) -> PathBuf {
    packages().unwrap().generated().join("completions").join(name)
}
