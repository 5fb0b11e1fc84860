//! What tells balancers on one host apart: their configuration files.

use std::{fs, hash::Hasher, path::Path};

/// A name for the balancer of a configuration file, by whatever path the file is named. It is the
/// same in the daemon and in its clients, and in every version.
pub fn instance(config: &Path) -> String {
    let path = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    // SipHash with its fixed default keys.
    #[expect(deprecated, reason = "DefaultHasher::new is the same, but may change between builds")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(path.as_os_str().as_encoded_bytes());
    format!("{:016x}", hasher.finish())
}
