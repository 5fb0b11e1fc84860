//! The environment of a cargo that another cargo has started, directly or not.

use std::process::Command;

/// Prefixes of variables that choose compilers, flags and directories. The outer cargo, rustup and
/// clippy set some of them for their own ends, people set others for the daemon's build.
const CHOOSING: [&str; 6] =
    ["CARGO", "__CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];

/// Those of them that say how to reach a registry, where its crates are kept, and how many jobs
/// may run: that holds for every cargo.
const COMMON: [&str; 6] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_", "CARGO_MAKEFLAGS"];

/// Frees a command from everything that was meant for another compiler.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_foreign) {
            command.env_remove(name);
        }
    }
}

fn is_foreign(name: &str) -> bool {
    let begins_as = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    begins_as(&CHOOSING) && !begins_as(&COMMON)
}

#[cfg(test)]
mod tests {
    use super::is_foreign;

    #[test]
    fn what_chooses_a_compiler_or_a_directory_is_not_inherited() {
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_UNSTABLE_BUILD_STD",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(is_foreign(name), "{name}");
        }
    }

    #[test]
    fn the_way_to_the_registry_is() {
        for name in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME"]
        {
            assert!(!is_foreign(name), "{name}");
        }
    }
}
