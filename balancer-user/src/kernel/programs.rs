//! The programs: loading, attaching, replacing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{
        Program, ProgramError, ProgramFd, SchedClassifier, TcAttachType, TracePoint, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
    },
    util::nr_cpus,
};

use super::{
    error::{LoadError, explain},
    maps::NAMES,
    object::OBJECT,
    pins::Pins,
};

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// At the driver.
    Xdp,
    /// Behind it, where the driver has no XDP.
    Tc,
    /// Where packets of exporters on this host go out: `lo`.
    Loopback,
}

impl Hook {
    /// The name in `status` and in the link's pin.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::Tc => "tc",
            Hook::Loopback => "lo",
        }
    }
}

/// The loaded programs.
pub struct Programs {
    ebpf: Ebpf,
    pins: Pins,
}

impl Programs {
    /// Loads maps and programs. Pinned maps are used, others are made and pinned.
    pub fn load(pins: &Pins) -> Result<Programs, LoadError> {
        let mut loader = EbpfLoader::new();
        let cpus = nr_cpus().map_err(|(file, error)| LoadError::Cpus(file, error))?;
        // The kernel refuses more places than it can have CPUs.
        loader.map_max_entries("CPUS", u32::try_from(cpus).unwrap_or(u32::MAX));
        for name in NAMES {
            loader.map_pin_path(name, pins.map(name));
        }
        let ebpf = loader.load(OBJECT).map_err(LoadError::Object)?;
        let mut programs = Programs { ebpf, pins: pins.clone() };
        for name in ["ipfix_xdp", "ipfix_cpu", "ipfix_copy"] {
            programs.xdp(name)?.load().map_err(|cause| LoadError::Program { name, cause })?;
        }
        let name = "ipfix_tc";
        programs.tc()?.load().map_err(|cause| LoadError::Program { name, cause })?;
        Ok(programs)
    }

    /// Counts what interfaces do not take, for as long as the daemon runs.
    ///
    /// # Errors
    ///
    /// Says what the kernel says: it may have no trace points.
    pub fn count_egress(&mut self) -> Result<(), LoadError> {
        let name = "ipfix_egress";
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        let count = |program: &mut Program| {
            let program: &mut TracePoint = program.try_into()?;
            program.load()?;
            program.attach("xdp", "xdp_devmap_xmit").map(drop)
        };
        count(program).map_err(|cause| LoadError::Program { name, cause })
    }

    /// The object, for its maps.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The program that copies run through.
    pub fn copier(&mut self) -> Result<ProgramFd, LoadError> {
        self.descriptor("ipfix_copy")
    }

    /// The program that runs on a receiver's own CPU.
    pub fn mover(&mut self) -> Result<ProgramFd, LoadError> {
        self.descriptor("ipfix_cpu")
    }

    /// Attaches the program for `hook` to an interface. Where a link is pinned already, the program
    /// takes the place of the one that runs there, and no packet misses it.
    ///
    /// # Errors
    ///
    /// Says what the kernel says.
    pub fn attach(&mut self, hook: Hook, interface: &str, index: u32) -> Result<(), String> {
        let pin = self.pin(hook, index);
        if let Ok(link) = PinnedLink::from_pin(&pin) {
            if self.replace(hook, link.into()).is_ok() {
                return Ok(());
            }
            // The link of an interface that is no more.
            fs::remove_file(&pin).map_err(|error| error.to_string())?;
        }
        self.attach_anew(hook, interface, index, &pin).map_err(|error| error.to_string())
    }

    /// Takes the program away from an interface.
    pub fn detach(&mut self, hook: Hook, index: u32) -> io::Result<()> {
        fs::remove_file(self.pin(hook, index))
    }

    /// Takes programs away from everywhere but these interfaces: what is pinned stays otherwise.
    pub fn detach_others(&mut self, wanted: &[(Hook, u32)]) {
        let wanted: Vec<_> = wanted.iter().map(|(hook, index)| self.pin(*hook, *index)).collect();
        for link in self.pins.pinned_links().iter().filter(|link| !wanted.contains(link)) {
            // Whoever has taken it away has done the same.
            let _ = fs::remove_file(link);
        }
    }

    fn pin(&self, hook: Hook, index: u32) -> PathBuf {
        self.pins.link(hook.as_str(), index)
    }

    fn replace(&mut self, hook: Hook, link: FdLink) -> Result<(), AttachError> {
        match hook {
            Hook::Xdp => {
                let program = self.xdp("ipfix_xdp")?;
                let id = program.attach_to_link(link.try_into()?)?;
                // The pin keeps it.
                let _ = program.take_link(id)?;
            }
            Hook::Tc | Hook::Loopback => {
                let program = self.tc()?;
                let id = program.attach_to_link(link.try_into()?)?;
                let _ = program.take_link(id)?;
            }
        }
        Ok(())
    }

    fn attach_anew(
        &mut self,
        hook: Hook,
        interface: &str,
        index: u32,
        pin: &Path,
    ) -> Result<(), AttachError> {
        let link: FdLink = match hook {
            Hook::Xdp => {
                let program = self.xdp("ipfix_xdp")?;
                let id = program.attach_to_if_index(index, XdpMode::Driver)?;
                program.take_link(id)?.try_into()?
            }
            Hook::Tc => self.attach_tc(interface, TcAttachType::Ingress)?,
            Hook::Loopback => self.attach_tc(interface, TcAttachType::Egress)?,
        };
        link.pin(pin)?;
        Ok(())
    }

    fn attach_tc(&mut self, interface: &str, side: TcAttachType) -> Result<FdLink, AttachError> {
        let program = self.tc()?;
        let id = program.attach(interface, side)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn descriptor(&mut self, name: &'static str) -> Result<ProgramFd, LoadError> {
        let program = self.xdp(name)?;
        let descriptor = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        descriptor.map_err(|cause| LoadError::Program { name, cause })
    }

    fn xdp(&mut self, name: &'static str) -> Result<&mut Xdp, LoadError> {
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        program.try_into().map_err(|cause| LoadError::Program { name, cause })
    }

    fn tc(&mut self) -> Result<&mut SchedClassifier, LoadError> {
        let name = "ipfix_tc";
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        program.try_into().map_err(|cause| LoadError::Program { name, cause })
    }
}

#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("{0}")]
    Object(#[from] LoadError),
    #[error("{}", explain(.0))]
    Program(#[from] ProgramError),
    #[error("the kernel has no links for this hook (Linux 5.9 for XDP, 6.6 for TC): {}", explain(.0))]
    Link(#[from] aya::programs::links::LinkError),
    #[error("can't pin the link: {}", explain(.0))]
    Pin(#[from] aya::pin::PinError),
}
