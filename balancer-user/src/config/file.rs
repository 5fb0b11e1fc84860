//! The `.env` file on disk: read with its revision, replaced as a whole.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// Permissions of a file that was not there before: the owner's.
const NEW_FILE: u32 = 0o600;
/// Ends the name of the version before.
const PREVIOUS: &str = ".previous";

/// The file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// All of it; nothing when there is no file.
    pub bytes: Vec<u8>,
    /// Names this content.
    pub revision: String,
}

/// Why a file was not replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It is not what the change was made from any more.
    #[error("{}: somebody else has changed the file meanwhile; read it again", .0.display())]
    Changed(PathBuf),
    /// What the system says.
    #[error("{}: can't be written: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads a file.
///
/// # Errors
///
/// What the system says, but for a file that is not there.
pub fn read(path: &Path) -> io::Result<Stored> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let revision = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Stored { bytes, revision })
}

/// The version that [`replace`] has replaced last; `None` without one.
///
/// # Errors
///
/// What the system says.
pub fn previous(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(previous_path(&target(path))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Replaces a file of this revision, so that at every moment, crash included, either the old or the
/// new one is there, whole. The old one is kept as the previous version.
///
/// # Errors
///
/// [`ReplaceError`]; the file is as it was then.
pub fn replace(path: &Path, revision: &str, bytes: &[u8]) -> Result<(), ReplaceError> {
    let io = |source| ReplaceError::Io { path: path.to_owned(), source };
    // A link stays one.
    let target = target(path);
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(dir).map_err(io)?;
    // Against others who do the same; held until this file is closed.
    lock.lock().map_err(io)?;
    let old = read(&target).map_err(io)?;
    if old.revision != revision {
        return Err(ReplaceError::Changed(path.to_owned()));
    }
    if target.exists() {
        write(dir, &previous_path(&target), &target, &old.bytes).map_err(io)?;
    }
    write(dir, &target, &target, bytes).map_err(io)?;
    lock.sync_all().map_err(io)
}

/// Writes `bytes` to `path` by way of another name, with owner and permissions of `like`.
fn write(dir: &Path, path: &Path, like: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    match fs::metadata(like) {
        Ok(metadata) => {
            file.as_file().set_permissions(metadata.permissions())?;
            // Only root can give a file away; its own user's is right already.
            let _ = chown(file.path(), Some(metadata.uid()), Some(metadata.gid()));
        }
        Err(_) => file.as_file().set_permissions(Permissions::from_mode(NEW_FILE))?,
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn previous_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(PREVIOUS);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_the_one_before_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        let none = read(&path).unwrap();
        assert_eq!((none.bytes.len(), previous(&path).unwrap()), (0, None));
        replace(&path, &none.revision, b"one").unwrap();
        assert_eq!(previous(&path).unwrap(), None);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, NEW_FILE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let one = read(&path).unwrap();
        replace(&path, &one.revision, b"two").unwrap();
        assert_eq!(read(&path).unwrap().bytes, b"two");
        assert_eq!(previous(&path).unwrap().unwrap(), b"one");
        for path in [path.clone(), previous_path(&path)] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o640);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "something was left behind");
    }

    #[test]
    fn who_comes_second_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, "one").unwrap();
        let one = read(&path).unwrap();
        replace(&path, &one.revision, b"first").unwrap();
        let second = replace(&path, &one.revision, b"second").unwrap_err();
        assert!(matches!(second, ReplaceError::Changed(_)), "{second}");
        assert_eq!(read(&path).unwrap().bytes, b"first");
        assert_eq!(previous(&path).unwrap().unwrap(), b"one");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join(".env"), dir.path().join("real"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink("real", &path).unwrap();
        replace(&path, &read(&path).unwrap().revision, b"two").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"two");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }
}
