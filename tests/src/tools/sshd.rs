//! OpenSSH's server on loopback, with keys and configuration of its own.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

use super::process::Process;
use super::program;
use crate::daemon::outcome;
use crate::net::{V4, free_address};

/// A running `sshd`, which lets one key in.
#[derive(Debug)]
pub struct Sshd {
    process: Process,
    address: SocketAddr,
}

impl Sshd {
    /// Starts it. Commands that are run there find programs in `programs` first.
    pub fn start(programs: &Path) -> Result<Self> {
        ensure!(geteuid().is_root(), "sshd takes root here");
        // Where it wants an empty directory; systemd makes it otherwise.
        fs::create_dir_all("/run/sshd")?;
        let address = free_address(V4)?;
        let mut process = Process::start(|folder| {
            for name in ["host", "client"] {
                make_key(&folder.join(name))?;
            }
            fs::copy(folder.join("client.pub"), folder.join("authorized_keys"))?;
            fs::write(folder.join("config"), configuration(folder, address, programs))?;
            let mut command = Command::new(program("sshd", "openssh-server")?);
            command.args(["-D", "-e", "-f"]).arg(folder.join("config"));
            Ok(command)
        })?;
        process.wait_for_output("Server listening")?;
        Ok(Self { process, address })
    }

    /// What a client has to have in its `ssh_config` to come here by the name `host`.
    pub fn client_configuration(&self, host: &str) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let key = self.process.folder().join("client");
        format!(
            "Host {host}\n  HostName {ip}\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n",
            key.display()
        )
    }

    /// Its line of a client's `known_hosts`.
    pub fn known_host(&self) -> Result<String> {
        let (ip, port) = (self.address.ip(), self.address.port());
        let key = fs::read_to_string(self.process.folder().join("host.pub"))?;
        Ok(format!("[{ip}]:{port} {key}"))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

fn make_key(path: &PathBuf) -> Result<()> {
    let mut command = Command::new(program("ssh-keygen", "openssh-client")?);
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    let made = outcome(&mut command)?;
    ensure!(made.code == 0, "ssh-keygen: {}", made.stderr);
    fs::set_permissions(path, Permissions::from_mode(0o600)).context("the key's permissions")
}

fn configuration(folder: &Path, address: SocketAddr, programs: &Path) -> String {
    let (folder, programs) = (folder.display(), programs.display());
    format!(
        "ListenAddress {}\nPort {}\nHostKey {folder}/host\nPidFile none\n\
         AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         SetEnv PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin\nLogLevel VERBOSE\n",
        address.ip(),
        address.port()
    )
}
