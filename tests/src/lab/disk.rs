//! A file system that is full before long.

use std::path::Path;

use anyhow::Result;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Mounts a tmpfs with these options, for example `size=2m`, seen by the calling thread and what it
/// starts alone. It goes with the last of them.
pub fn mount_small(place: &Path, options: &str) -> Result<()> {
    std::fs::create_dir_all(place)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    Ok(mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(options))?)
}
