//! Compressing a finished dump file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    file::{create, with},
    name::{PART, ZSTD},
};

/// zstd's own default: much faster than a disk writes.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// Puts a compressed file in the place of `path`; its name. The original goes when the compressed
/// one is complete. After an error it is as before.
pub fn compress(path: &Path) -> io::Result<PathBuf> {
    let compressed = with(path, ZSTD);
    let part = with(&compressed, PART);
    let done = write(path, &part).and_then(|()| fs::rename(&part, &compressed));
    if let Err(error) = done {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    fs::remove_file(path)?;
    Ok(compressed)
}

fn write(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let mut encoder = zstd::Encoder::new(create(to)?, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(source.metadata()?.len()))?;
    io::copy(&mut &source, &mut encoder)?;
    encoder.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compressed_file_takes_the_originals_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ipfix");
        let bytes = [7; 100_000];
        fs::write(&path, bytes).unwrap();
        let compressed = compress(&path).unwrap();
        assert_eq!(compressed, dir.path().join("a.ipfix.zst"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let read = zstd::decode_all(File::open(compressed).unwrap()).unwrap();
        assert_eq!(read, bytes);
    }

    #[test]
    fn a_failure_leaves_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ipfix");
        fs::write(&path, [7; 10]).unwrap();
        fs::create_dir(dir.path().join("a.ipfix.zst")).unwrap();
        fs::write(dir.path().join("a.ipfix.zst/x"), []).unwrap();
        compress(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), [7; 10]);
        assert!(!dir.path().join("a.ipfix.zst.part").exists());
    }
}
