//! Where maps, programs and links stay while no daemon runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{
    links::{FdLink, PinnedLink},
    loaded_programs,
};
use common::maps::ABI;
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_indextoname,
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::status::Pinned;
use crate::config::instance;

const BPF_FS: &str = "/sys/fs/bpf";
/// Directory of all balancers of this host.
const ROOT: &str = "/sys/fs/bpf/ipfix-balancer";

/// The pins of one balancer.
#[derive(Clone, Debug)]
pub struct Pins {
    instance: PathBuf,
}

impl Pins {
    /// The pins of the balancer with this configuration file.
    pub fn of(config: &Path) -> Pins {
        Pins { instance: Path::new(ROOT).join(instance(config)) }
    }

    /// Where this version's pins are: maps of another one may look otherwise, and nothing but the name
    /// would tell.
    pub fn directory(&self) -> PathBuf {
        self.instance.join(format!("v{ABI}"))
    }

    /// Where a map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.directory().join("links")
    }

    /// Where the link of a hook at an interface is pinned. It goes by the interface's index, as the
    /// link itself does: while no daemon runs the name may change, or come to be another one's.
    pub fn link(&self, hook: &str, index: u32) -> PathBuf {
        self.links().join(format!("{hook}-{index}"))
    }

    /// Makes the directories, and mounts the file system if nobody has. What another version left
    /// there is taken away; true where there was something of this version.
    pub fn prepare(&self) -> io::Result<bool> {
        mount_bpf_fs()?;
        for entry in entries(&self.instance) {
            if entry != self.directory() {
                fs::remove_dir_all(&entry)?;
            }
        }
        let found = self.directory().exists();
        fs::create_dir_all(self.links())?;
        Ok(found)
    }

    /// Takes everything away: programs and maps end with their last pin. True where there was
    /// something.
    pub fn purge(&self) -> io::Result<bool> {
        match fs::remove_dir_all(&self.instance) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        // Other balancers may have theirs there.
        let _ = fs::remove_dir(ROOT);
        Ok(true)
    }

    /// The pinned links.
    pub fn pinned_links(&self) -> Vec<PathBuf> {
        entries(&self.links())
    }

    /// What is there, by name.
    pub fn look(&self) -> Option<Pinned> {
        let directory = self.directory();
        let (links, mut maps): (Vec<_>, Vec<_>) =
            entries(&directory).into_iter().partition(|entry| *entry == self.links());
        if links.is_empty() && maps.is_empty() {
            return None;
        }
        maps.sort();
        let mut links = self.pinned_links();
        links.sort();
        Some(Pinned {
            directory,
            links: links.iter().map(|link| (name(link), program_at(link))).collect(),
            maps: maps.iter().map(|map| name(map)).collect(),
        })
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The program at a pinned link, and the link's interface, for people.
fn program_at(link: &Path) -> String {
    let info = PinnedLink::from_pin(link).and_then(|link| FdLink::from(link).info());
    let id = match info {
        Ok(info) => info.program_id(),
        Err(error) => return error.to_string(),
    };
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = program.as_ref().and_then(|program| program.name_as_str()).unwrap_or("program");
    let place = interface(link).map_or(String::new(), |interface| format!(" on {interface}"));
    format!("{name} (id {id}){place}")
}

/// The name of the interface that a link's pin has the index of, if there is one in this namespace.
fn interface(link: &Path) -> Option<String> {
    let name = name(link);
    let (_, index) = name.rsplit_once('-')?;
    Some(if_indextoname(index.parse().ok()?).ok()?.to_string_lossy().into_owned())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// Mounts the file system of the pins, if nobody has.
pub fn mount_bpf_fs() -> io::Result<()> {
    if statfs(BPF_FS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    Ok(mount(Some("bpf"), BPF_FS, Some("bpf"), MsFlags::empty(), None::<&str>)?)
}
