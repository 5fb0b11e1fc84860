//! The cargo that builds the object.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::{Error, Toolchain};

/// What the object is built for: BPF, little-endian as all machines that the daemon runs on.
pub const TARGET: &str = "bpfel-unknown-none";
/// The package.
const PACKAGE: &str = "balancer-ebpf";

/// An object of the package.
#[derive(Clone, Copy, Debug)]
pub enum Object {
    /// The programs that the daemon carries.
    Balancer,
    /// Test equipment of `cargo xtask bench`.
    Bench,
}

impl Object {
    const ALL: [Self; 2] = [Self::Balancer, Self::Bench];

    fn name(self) -> &'static str {
        match self {
            Self::Balancer => "balancer-ebpf",
            Self::Bench => "balancer-ebpf-bench",
        }
    }
}

/// Builds the object; where it is. The target directory must be none that a running cargo holds:
/// the two would wait for each other.
///
/// # Errors
///
/// When cargo cannot be started, and when the object does not build: cargo has then said why.
pub fn build(toolchain: &Toolchain, object: Object, target_dir: &Path) -> Result<PathBuf, Error> {
    let mut command = toolchain.compiler.build();
    prepare(&mut command, toolchain, &[object], target_dir);
    let status = run(&mut command)?;
    if !status.success() {
        return Err(Error::Build { toolchain: toolchain.to_string(), status });
    }
    Ok(target_dir.join(TARGET).join("release").join(object.name()))
}

/// Runs clippy on the programs, which on any other target are not there to be linted. A warning
/// is an error.
///
/// # Errors
///
/// As those of [`build()`].
pub fn lint(toolchain: &Toolchain, target_dir: &Path) -> Result<(), Error> {
    let mut command = toolchain.compiler.clippy();
    prepare(&mut command, toolchain, &Object::ALL, target_dir);
    let status = run(command.args(["--", "-D", "warnings"]))?;
    if status.success() { Ok(()) } else { Err(Error::Lint(status)) }
}

fn prepare(command: &mut Command, toolchain: &Toolchain, objects: &[Object], target_dir: &Path) {
    for object in objects {
        command.args(["--bin", object.name()]);
    }
    command
        .args(["--locked", "--release", "--package", PACKAGE])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .current_dir(root())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain.linker));
    overrule(command, target_dir);
}

/// Overrules what a person's own cargo configuration could say.
fn overrule(command: &mut Command, target_dir: &Path) {
    // A build directory common to all cargos is one that the outer cargo holds.
    command.env("CARGO_BUILD_BUILD_DIR", target_dir);
    // Wrappers are for the daemon's compiler.
    command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
    // bpf-linker optimises the whole program, whatever rustc has done before.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
}

/// Runs it; what it prints to standard output would reach a cargo that reads it as instructions.
fn run(command: &mut Command) -> Result<ExitStatus, Error> {
    command.stdout(Stdio::null()).status().map_err(|source| Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })
}

/// Everything that the object is made from.
pub fn sources() -> [PathBuf; 5] {
    [
        "balancer-ebpf/Cargo.toml",
        "balancer-ebpf/src",
        "common/Cargo.toml",
        "common/src",
        "Cargo.lock",
    ]
    .map(|path| root().join(path))
}

/// Flags of the compiler, separated as cargo wants them, so that a path may hold blanks.
fn flags(linker: &Path) -> OsString {
    let mut flags = OsString::from("-Clinker=");
    flags.push(linker);
    // Type information for the loader comes from debug information; v3 has 32-bit jumps.
    flags.push("\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Ctarget-cpu=v3");
    // IP addresses stand at odd multiples of 2 in a frame. The machines that programs run on read them
    // at once all the same, and the verifier knows which machines do.
    flags.push("\u{1f}-Clink-arg=--cpu-features=+allows-misaligned-mem-access");
    flags
}

/// The workspace of the package that is being built or run: what this was compiled for may be another
/// one, where target directories are copied.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let is_root = |folder: &&Path| folder.join(PACKAGE).join("Cargo.toml").is_file();
    here.ancestors().find(is_root).unwrap_or(&here).to_owned()
}
