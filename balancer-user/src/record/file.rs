//! One dump file: written under a name that ends with `.part`, and renamed when it is complete.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::name::{FINISHED, PART, ZSTD, numbered};

/// Dump files tell who talked to whom: they are for their owner and group.
const DIR_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// Most files of the same exporter with the same time.
const MAX_AGAIN: u32 = 1_000_000;

/// A dump file that is being written. It is locked, so that nobody takes it for one that a daemon
/// before this one has left behind.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    dir: PathBuf,
    /// Its final name.
    name: String,
}

impl PartFile {
    /// Creates a file, and its directory if that is not there. There may be files of the same name;
    /// this one is the `again`-th at least.
    pub fn create(dir: &Path, stem: &str, again: u32) -> io::Result<PartFile> {
        create_dir(dir)?;
        for again in again..MAX_AGAIN {
            let name = numbered(stem, again) + FINISHED;
            let path = dir.join(&name);
            if path.exists() || with(&path, ZSTD).exists() {
                continue;
            }
            match create(&with(&path, PART)) {
                Ok(file) => return Ok(PartFile { file, dir: dir.to_owned(), name }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many dump files of one exporter have the same time"))
    }

    /// Takes over a file that was left behind, cut to its first `len` bytes.
    pub fn take_over(file: File, dir: &Path, name: &str, len: u64) -> io::Result<PartFile> {
        file.set_len(len)?;
        Ok(PartFile { file, dir: dir.to_owned(), name: name.to_owned() })
    }

    /// Where the file will be.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Appends as much as the file system takes.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// Waits until the disk has all of it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives a synced file its final name. May be called again after an error.
    pub fn publish(&mut self) -> io::Result<PathBuf> {
        let path = self.path();
        if let Err(error) = fs::rename(with(&path, PART), &path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            return self.rescue();
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(path)
    }

    /// Somebody has removed the directory: what was written is there for as long as the file is
    /// open, and goes into a new one.
    fn rescue(&mut self) -> io::Result<PathBuf> {
        let stem = self.name.trim_end_matches(FINISHED);
        let mut copy = PartFile::create(&self.dir, stem, 0)?;
        let path = copy.path();
        let copied = self.copy_to(&mut copy.file).and_then(|()| copy.publish());
        if copied.is_err() {
            // It is tried again, with another one.
            let _ = fs::remove_file(with(&path, PART));
        }
        copied
    }

    fn copy_to(&mut self, copy: &mut File) -> io::Result<()> {
        self.file.rewind()?;
        io::copy(&mut self.file, copy)?;
        copy.sync_all()
    }
}

/// Creates a directory that is not there; it stays there where the one above can be read.
fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    if let Some(parent) = dir.parent().and_then(|parent| File::open(parent).ok()) {
        parent.sync_all()?;
    }
    Ok(())
}

/// A path whose name ends with `end` in addition.
pub fn with(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Creates a file that is not there, for reading and writing.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
    // File systems without locks have to do without.
    let _ = file.try_lock();
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn written(dir: &Path, bytes: &[u8]) -> PartFile {
        let mut part = PartFile::create(dir, "stem", 0).unwrap();
        assert_eq!(part.append(bytes).unwrap(), bytes.len());
        part.sync().unwrap();
        part
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let mut part = written(&dir, b"ab");
        let names =
            || -> Vec<_> { fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect() };
        assert_eq!(names(), ["stem.ipfix.part"]);
        let path = part.publish().unwrap();
        assert_eq!(names(), ["stem.ipfix"]);
        assert_eq!(fs::read(&path).unwrap(), b"ab");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path) & 0o007, 0);
        assert_eq!(mode(&dir) & 0o007, 0);
    }

    #[test]
    fn no_file_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        let mut open = Vec::new();
        for number in 0..3 {
            let mut part = written(dir.path(), &[number]);
            match number {
                1 => open.push(part),
                _ => paths.push(part.publish().unwrap()),
            }
        }
        fs::rename(&paths[0], with(&paths[0], ZSTD)).unwrap();
        paths.push(open.remove(0).publish().unwrap());
        paths.push(written(dir.path(), &[3]).publish().unwrap());
        let names: Vec<_> = paths.iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        let expected = ["stem.ipfix", "stem_0002.ipfix", "stem_0001.ipfix", "stem_0003.ipfix"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_was_written_survives_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("dump");
        let mut part = written(&dir, b"kept");
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(fs::read(part.publish().unwrap()).unwrap(), b"kept");
    }
}
