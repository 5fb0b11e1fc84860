//! Telling other programs of a rotation.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// How long `ROTATE_COMMAND` may take for one file.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(600);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Sends `HUP` to the process in a pid file.
pub fn hang_up(pidfile: &Path) -> io::Result<()> {
    let text = fs::read_to_string(pidfile)?;
    // 0 and below stand for groups of processes.
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| io::Error::other("there is no process id in it"))?;
    Ok(kill(Pid::from_raw(pid), Signal::SIGHUP)?)
}

/// Runs a command line by the shell, with a file's name as its last argument, to its end.
pub fn run(command: &str, file: &Path) -> io::Result<()> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("{command} \"$1\""), "ipfix-balancer"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A group of its own, so that all of it can be ended.
        .process_group(0)
        .spawn()?;
    match wait(&mut child, COMMAND_LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(io::Error::other(status.to_string())),
        None => Err(io::Error::other(format!("it took over {} s", COMMAND_LIMIT.as_secs()))),
    }
}

/// Waits for the end; `None`: it did not come in time, and was brought about.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_gets_the_name_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a b\"$c.ipfix");
        fs::write(&file, "content").unwrap();
        let copy = dir.path().join("copy");
        run(&format!("tee {} <", copy.display()), &file).unwrap();
        assert_eq!(fs::read(copy).unwrap(), b"content");
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_an_error() {
        assert!(run("false", Path::new("/")).unwrap_err().to_string().contains("exit status: 1"));
        let mut hangs = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        assert_eq!(wait(&mut hangs, Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn a_pid_file_without_a_pid_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "0", "-1", "all"] {
            fs::write(file.path(), text).unwrap();
            assert!(hang_up(file.path()).is_err(), "{text}");
        }
    }
}
