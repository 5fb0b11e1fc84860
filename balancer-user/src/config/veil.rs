//! What is shown of a file: other programs' values, which may be secret, are not.

use super::text::{self, PREFIX};

/// Stands for what is not shown.
const VEILED: &str = "***";

/// A text in which only our own keys have values: those of other programs are replaced, in comments
/// as well. Its lines stay what they are otherwise.
pub fn veil(file: &str) -> String {
    let shown = |line: text::Line<'_>| {
        let key = line.statement.map(|statement| statement.key);
        match key {
            Some(key) if key.starts_with(PREFIX) => line.raw.to_owned(),
            _ => veiled(line.raw),
        }
    };
    text::lines(file).into_iter().map(shown).collect()
}

fn veiled(raw: &str) -> String {
    let end =
        raw.strip_suffix("\r\n").map_or(if raw.ends_with('\n') { "\n" } else { "" }, |_| "\r\n");
    match raw.split_once(['=', ':']) {
        // A comment of ours may well be an example.
        Some((key, _)) if !key.contains(PREFIX) => {
            let sign = raw.get(key.len()..=key.len()).unwrap_or_default();
            format!("{key}{sign}{VEILED}{end}")
        }
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_values_are_not_shown() {
        let file = "\u{feff}# Balancer\r\nDB_PASSWORD=\"a\r\nb\" # c\r\n#OLD_PASSWORD=x\n# token: y\n\
            IPFIX_FULLFLOW_PORT[0]=1500 # main\n#IPFIX_FULLFLOW_BIND[0]=::1\nexport K = z";
        assert_eq!(
            veil(file),
            "\u{feff}# Balancer\r\nDB_PASSWORD=***\r\n#OLD_PASSWORD=***\n# token:***\n\
             IPFIX_FULLFLOW_PORT[0]=1500 # main\n#IPFIX_FULLFLOW_BIND[0]=::1\nexport K =***"
        );
    }
}
