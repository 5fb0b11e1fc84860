//! The tarball, and the container that is made of it. Here it holds the daemon of tests.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{listing, packages};
use crate::package::musl::TARGET;
use crate::package::tarball;
use crate::workspace::{output, root, target_dir};

#[test]
fn holds_what_the_packages_hold() {
    try_holds().unwrap();
}

fn try_holds() -> Result<()> {
    let [contents, _] = &packages()?.contents;
    let tarball = tarball::build(contents, &target_dir()?.join("package-tests"))?;
    let listed = output(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&tarball))?;
    ensure!(
        listed.lines().all(|line| line.contains(" 0/0 ")),
        "files of others than root:\n{listed}"
    );
    let folder = format!("ipfix-balancer-0.1.0-{TARGET}/");
    let paths = listed.lines().filter_map(|line| line.split_once(&folder));
    let paths = paths.map(|(_, path)| path.trim_end_matches('/').to_owned());
    let paths: BTreeSet<String> = paths.filter(|path| !path.is_empty()).collect();
    let (zsh, documents) = ("usr/share/zsh/site-functions", "usr/share/doc/ipfix-balancer");
    let mut expected = listing::expected(&BTreeSet::new(), zsh, documents)?;
    expected.retain(|path| !listing::MADE.contains(&path.as_str()));
    assert_eq!(paths, expected);
    Ok(())
}

/// Nobody here can build it without a registry of images: what it names is there.
#[test]
fn the_container_file_names_the_tarball_and_the_program() {
    let text = std::fs::read_to_string(root().join("packaging/Containerfile")).unwrap();
    let line = |word: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(word));
        lines.next_back().with_context(|| format!("no {word} in the container file"))
    };
    assert_eq!(line("ADD").unwrap(), format!("ADD ipfix-balancer-*-{TARGET}.tar.gz /"));
    assert_eq!(line("COPY").unwrap(), "COPY --from=unpacked /tree /");
    assert_eq!(line("ENTRYPOINT").unwrap(), "ENTRYPOINT [\"/usr/bin/ipfix-balancer\"]");
    assert_eq!(line("CMD").unwrap(), "CMD [\"run\"]");
}
