//! `cargo xtask setup`: what builds and tests need, installed once, and quick when all is there.

mod debian;
mod ebpf;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use self::debian::Package;
use crate::workspace::{cargo, output, run as run_command};

/// What tests need, and for what.
const TEST_PACKAGES: &[Package] = &[
    ("bpftool", "shows what the kernel has loaded"),
    ("chromium", "looks at the web interface"),
    ("chromium-driver", "clicks in it"),
    ("curl", "in commands that documents show"),
    ("ethtool", "settings of network interfaces in tests"),
    ("fish", "reads the completions of its shell"),
    ("g++", "builds the fuzzing engine"),
    ("iproute2", "network namespaces and addresses in tests"),
    ("jq", "in commands that documents show"),
    ("keepalived", "moves an address between two balancers"),
    ("libfixbuf-tools", "ipfixDump: a collector for TCP, and a reader of dump files"),
    ("man-db", "reads the manual pages"),
    ("mmdebstrap", "clean roots to install packages into"),
    ("nfdump", "nfcapd: a collector for UDP"),
    ("openssh-server", "another host, for the web interface"),
    ("pmacct", "nfacctd: a collector for UDP"),
    ("prometheus", "promtool: checks metrics and alert rules"),
    ("python3-ipfix", "a collector for TCP"),
    ("tshark", "decodes everything"),
    ("zsh", "reads the completions of its shell"),
];

/// What packages are made with.
const PACKAGE_PACKAGES: &[Package] = &[
    ("binutils", "strip: takes from programs what only debuggers need"),
    ("dpkg-dev", "dpkg-shlibdeps: the libraries of the DEB package"),
    ("musl-tools", "compiles the static program"),
    ("rpm", "builds and installs the RPM package"),
];

/// What the bench compares with, besides the collectors among the above.
const PEER_PACKAGES: &[Package] = &[
    ("libnginx-mod-stream", "nginx for other things than HTTP: a peer of the bench"),
    ("nginx", "a peer of the bench"),
];

/// What `cargo xtask setup` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Install the programs that `cargo xtask bench` compares with as well
    #[arg(long)]
    peers: bool,
}

/// Installs what was asked for.
pub fn run(args: &Args) -> Result<ExitCode> {
    for_tests()?;
    if args.peers {
        debian::install_packages(PEER_PACKAGES)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs what builds and tests need.
pub fn for_tests() -> Result<()> {
    debian::install_packages(&[ebpf::packages()?, PACKAGE_PACKAGES, TEST_PACKAGES].concat())?;
    ebpf::install_linker()?;
    install_subcommand("fuzz")?;
    install_cargo_deny()?;
    println!("setup: everything that builds and tests need is installed");
    Ok(())
}

/// Installs what the daemon's build alone needs.
pub fn for_daemon() -> Result<()> {
    ebpf::install()
}

/// Installs what packages are made with, and what the daemon's build needs.
pub fn for_packages() -> Result<()> {
    debian::install_packages(PACKAGE_PACKAGES)?;
    ebpf::install()
}

/// Installs the library of Rust for static programs, if the compiler that builds has none.
pub fn for_musl(target: &str) -> Result<()> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder =
        output(Command::new(compiler).args(["--print", "target-libdir", "--target", target]))?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    println!("setup: installing Rust's library for {target}");
    run_command(Command::new("rustup").args(["target", "add", target])).with_context(|| {
        format!("a static program takes Rust's library for {target}, which rustup would install")
    })
}

/// Installs what a release takes besides packages.
pub fn for_release() -> Result<()> {
    install_subcommand("cyclonedx")
}

/// Installs a subcommand of cargo, which has a `--version`.
fn install_subcommand(name: &str) -> Result<()> {
    if succeeds(cargo().args([name, "--version"])) {
        return Ok(());
    }
    let package = format!("cargo-{name}");
    println!("setup: installing {package}");
    run_command(quick_to_build(cargo().args(["install", "--locked", &package])))
        .with_context(|| format!("{package} could not be installed"))
}

/// Builds what is seldom run without more optimisation than the least: that takes half the time.
fn quick_to_build(command: &mut Command) -> &mut Command {
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_LTO", "off")
}

/// The one that reads this project's lock file. It is made from source, as no package has it that is new
/// enough.
fn install_cargo_deny() -> Result<()> {
    if succeeds(cargo().args(["deny", "--version"])) {
        return Ok(());
    }
    println!("setup: installing cargo-deny");
    let mut command = cargo();
    command.args(["install", "--locked", "--version", "0.20.2", "cargo-deny"]);
    run_command(quick_to_build(&mut command)).context("cargo-deny could not be installed")
}

/// Whether a command exists and ends well; its output is dropped.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
