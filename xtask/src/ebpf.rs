//! `cargo xtask build-ebpf`: the eBPF object by itself; and clippy on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use aya_obj::{Object as Contents, Program};
use balancer_ebpf_build::{Object, Toolchain};

use crate::workspace::target_dir;

/// Builds the object, and says what is in it.
pub fn build() -> Result<ExitCode> {
    let toolchain = Toolchain::find()?;
    println!("building with {toolchain}");
    let object = balancer_ebpf_build::build(&toolchain, Object::Balancer, &directory()?)?;
    describe(&object).with_context(|| object.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the bench's test equipment, and the programs that it measures; where they are.
pub fn for_bench() -> Result<[PathBuf; 2]> {
    let (toolchain, directory) = (Toolchain::find()?, directory()?);
    let build = |object| balancer_ebpf_build::build(&toolchain, object, &directory);
    Ok([build(Object::Bench)?, build(Object::Balancer)?])
}

/// Lints the programs, which the workspace's own clippy does not see.
pub fn lint() -> Result<()> {
    Ok(balancer_ebpf_build::lint(&Toolchain::find()?, &directory()?)?)
}

/// Apart from the directories that cargo itself builds into.
fn directory() -> Result<PathBuf> {
    Ok(target_dir()?.join("bpf"))
}

/// Reads the object with the loader of the daemon, and prints its size and its programs.
fn describe(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    let object = Contents::parse(&bytes)?;
    println!("{}: {} bytes, {} programs", path.display(), bytes.len(), object.programs.len());
    let mut programs: Vec<(&String, &Program)> = object.programs.iter().collect();
    programs.sort_by_key(|(name, _)| *name);
    for (name, program) in programs {
        let function = object.functions.get(&program.function_key());
        let length = function.map_or(0, |function| function.instructions.len());
        println!("  {name}: {:?}, {length} instructions", program.section);
    }
    Ok(())
}
