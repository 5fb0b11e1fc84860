//! Files of the web interface, in a directory that is nobody else's.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// The directory (`IPFIX_UI_DIR`).
#[derive(Clone, Debug)]
pub struct Data(PathBuf);

impl Data {
    /// Opens the directory; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub fn open(dir: &Path) -> anyhow::Result<Data> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("{}: can't be created (IPFIX_UI_DIR)", dir.display()))?;
        Ok(Data(dir.to_owned()))
    }

    /// The directory's path.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Reads a file of JSON; the default when it is not there.
    pub fn read<T: DeserializeOwned + Default>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.0.join(name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            read => read.with_context(|| path.display().to_string())?,
        };
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    /// Changes a file of JSON: at every moment the old or the new one is there, whole. Nothing is
    /// written when `change` fails.
    pub fn update<T, R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> anyhow::Result<R>,
    ) -> anyhow::Result<R>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        // Against others who do the same; held until this file is closed.
        let lock = File::open(&self.0)?;
        lock.lock()?;
        let mut value = self.read::<T>(name)?;
        let result = change(&mut value)?;
        let path = self.0.join(name);
        self.write(&path, &serde_json::to_vec_pretty(&value)?)
            .with_context(|| format!("{}: can't be written", path.display()))?;
        lock.sync_all()?;
        Ok(result)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // It is made for its owner alone.
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        // Root writes for the daemon, whose directory it is.
        let owner = fs::metadata(&self.0)?;
        let _ = chown(file.path(), Some(owner.uid()), Some(owner.gid()));
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// Opens a file of the owner's, to append to.
    pub fn append_to(&self, name: &str) -> io::Result<File> {
        File::options().create(true).append(true).mode(0o600).open(self.0.join(name))
    }

    /// A file of the owner's that must not be there yet.
    pub fn create(&self, name: &str) -> io::Result<File> {
        File::options().create_new(true).write(true).mode(0o600).open(self.0.join(name))
    }
}
