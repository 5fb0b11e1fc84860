//! Builds the eBPF object that the daemon carries, unless it is built without the kernel path.

#[cfg(feature = "kernel")]
fn main() -> Result<(), String> {
    use std::env;
    use std::path::Path;

    use balancer_ebpf_build::{Toolchain, build, sources};

    for path in sources() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let out = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?;
    let object = Toolchain::find()
        .and_then(|toolchain| build(&toolchain, &Path::new(&out).join("bpf")))
        .map_err(|error| error.to_string())?;
    println!("cargo::rustc-env=BALANCER_EBPF_OBJECT={}", object.display());
    Ok(())
}

#[cfg(not(feature = "kernel"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
