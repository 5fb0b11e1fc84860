//! Builds the eBPF object that the daemon carries, unless it is built without the kernel path.

use std::process::ExitCode;

#[cfg(feature = "kernel")]
fn main() -> ExitCode {
    kernel::run()
}

#[cfg(not(feature = "kernel"))]
fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    ExitCode::SUCCESS
}

#[cfg(feature = "kernel")]
mod kernel {
    use std::env;
    use std::error::Error;
    use std::path::PathBuf;
    use std::process::ExitCode;

    use balancer_ebpf_build::{Object, Toolchain, build, sources};

    #[expect(clippy::print_stderr, reason = "cargo shows it when the build fails")]
    pub fn run() -> ExitCode {
        match embed() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Builds the object and tells the daemon's sources where it is.
    fn embed() -> Result<(), Box<dyn Error>> {
        for path in sources() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        let out: PathBuf = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?.into();
        let object = build(&Toolchain::find()?, Object::Balancer, &out.join("bpf"))?;
        println!("cargo::rustc-env=BALANCER_EBPF_OBJECT={}", object.display());
        Ok(())
    }
}
