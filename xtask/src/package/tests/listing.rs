//! What a package installs: compared with these lists, so that nothing comes or goes unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use ipfix_balancer_tests::daemon;

use crate::package::contents::{CONFIG, DOCUMENTS};
use crate::workspace::{output, root};

/// Files of both packages. Folders follow from them.
const FILES: &[&str] = &[
    "usr/bin/ipfix-balancer",
    "usr/bin/ipfix-balancer-restart",
    "usr/bin/ipfix-balancer-stop",
    "usr/lib/sysctl.d/60-ipfix-balancer.conf",
    "usr/lib/systemd/system/ipfix-balancer.service",
    "usr/lib/sysusers.d/ipfix-balancer.conf",
    "usr/lib/tmpfiles.d/ipfix-balancer.conf",
    "usr/share/bash-completion/completions/ipfix-balancer",
    "usr/share/fish/vendor_completions.d/ipfix-balancer.fish",
    "usr/share/man/man5/ipfix-balancer.env.5.gz",
    "usr/share/man/man8/ipfix-balancer.8.gz",
    CONFIG,
];

/// What the installation makes by its scripts: the service's user, and its directories.
pub const MADE: &[&str] = &[
    "var/fast_ipfix_balancer/dump",
    "var/fast_ipfix_balancer/spool",
    "var/fast_ipfix_balancer/ui",
];

/// Files and folders that a package with these documents brings to a root that has `before`.
pub fn expected(
    before: &BTreeSet<String>,
    zsh: &str,
    documents: &str,
) -> anyhow::Result<BTreeSet<String>> {
    let mut files: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    files.push(format!("{zsh}/_ipfix-balancer"));
    for subcommand in subcommands()? {
        files.push(format!("usr/share/man/man8/ipfix-balancer-{subcommand}.8.gz"));
    }
    for document in DOCUMENTS.iter().map(Path::new) {
        add_files(document, documents, &mut files)?;
    }
    let with_folders = files.iter().flat_map(|file| {
        Path::new(file).ancestors().filter_map(|path| path.to_str()).map(str::to_owned)
    });
    let made = MADE.iter().map(|path| (*path).to_owned());
    let all = with_folders.chain(made).filter(|path| !path.is_empty());
    Ok(all.filter(|path| !before.contains(path)).collect())
}

/// Adds a document of the workspace, or those in a folder of it, where a package has them.
fn add_files(document: &Path, documents: &str, files: &mut Vec<String>) -> anyhow::Result<()> {
    if root().join(document).is_file() {
        files.push(format!("{documents}/{}", document.display()));
        return Ok(());
    }
    for entry in fs::read_dir(root().join(document))? {
        add_files(&document.join(entry?.file_name()), documents, files)?;
    }
    Ok(())
}

/// What `ipfix-balancer --help` lists.
fn subcommands() -> anyhow::Result<Vec<String>> {
    let help = output(Command::new(daemon::binary()?).arg("--help"))?;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  "));
    Ok(listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// What stays of an operator's data, besides these.
pub fn data(besides: &[&str]) -> BTreeSet<String> {
    let always = [&["var/fast_ipfix_balancer"], MADE].concat();
    always.iter().chain(besides).map(|path| (*path).to_owned()).collect()
}
