//! One segment file of a spool.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use common::message::{Header as MessageHeader, MAX_LEN};
use serde::{Deserialize, Serialize};

use super::record::{self, HEAD_LEN, Kind, Records};

/// Form of the files; a daemon leaves those of another form alone.
pub const VERSION: u32 = 1;
/// The end of a segment file's name.
pub const SUFFIX: &str = ".spool";
/// What waits tells who talked to whom: it is for its owner and group.
const DIR_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// Bytes that are read at once.
const READ: usize = 256 << 10;

/// The first record of a segment file, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// Whose messages, and for whom.
    #[serde(flatten)]
    pub label: Label,
    /// Number of the spool: when it was begun, in microseconds since 1970.
    pub spool: u64,
    /// Number of the segment in its spool.
    pub segment: u64,
    /// Number of its first message in the spool.
    pub first: u64,
    /// When it was begun, in seconds since 1970.
    pub begun: u64,
}

/// What a spool stands for: the messages of one exporter session for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label {
    /// For example `FULLFLOW[0]`.
    pub receiver: String,
    /// As in the configuration, `10.19.3.21/1500/tcp`; `None` for messages that had no turn yet
    /// (RoundRobin).
    pub destination: Option<String>,
    /// Whose messages.
    pub exporter: SocketAddr,
}

/// A segment: what is in its file, and what is still to be written to it.
#[derive(Debug)]
pub struct Segment {
    path: PathBuf,
    /// Its number in the spool.
    pub number: u64,
    /// Number of its first message.
    pub first: u64,
    /// Messages in it.
    pub messages: u64,
    /// When it was begun, and when its newest message came, in seconds since 1970.
    pub begun: u64,
    pub newest: u64,
    /// Whether the disk may not have all that was written.
    pub unsynced: bool,
    written: u64,
    unwritten: Vec<u8>,
}

impl Segment {
    /// A new segment of `dir`, in memory still. `preamble` are whole messages.
    pub fn begin(dir: &Path, header: &Header, preamble: &[u8]) -> Segment {
        let mut unwritten = Vec::new();
        let json = serde_json::to_vec(header).unwrap_or_default();
        record::append(&mut unwritten, Kind::Header, &json);
        for message in messages(preamble) {
            record::append(&mut unwritten, Kind::Preamble, message);
        }
        Segment {
            path: dir.join(file_name(header)),
            number: header.segment,
            first: header.first,
            messages: 0,
            begun: header.begun,
            newest: header.begun,
            unsynced: false,
            written: 0,
            unwritten,
        }
    }

    /// A segment that was left behind, up to its last whole record: what follows is cut off.
    pub fn recover(path: &Path) -> io::Result<(Header, Segment)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        let (header, messages, whole) = scan(&file)?;
        if whole < size {
            file.set_len(whole)?;
        }
        let newest = file.metadata()?.modified().ok().and_then(|at| {
            at.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
        });
        let segment = Segment {
            path: path.to_owned(),
            number: header.segment,
            first: header.first,
            messages,
            begun: header.begun,
            newest: newest.unwrap_or(header.begun),
            unsynced: whole < size,
            written: whole,
            unwritten: Vec::new(),
        };
        Ok((header, segment))
    }

    /// Appends whole messages, in memory.
    pub fn append(&mut self, bytes: &[u8], now: u64) {
        for message in messages(bytes) {
            record::append(&mut self.unwritten, Kind::Message, message);
            self.messages += 1;
        }
        self.newest = now;
    }

    /// Bytes, written or not.
    pub fn bytes(&self) -> u64 {
        self.written + self.unwritten_bytes()
    }

    /// Bytes that the file does not have.
    pub fn unwritten_bytes(&self) -> u64 {
        u64::try_from(self.unwritten.len()).unwrap_or(u64::MAX)
    }

    /// Number of the message behind its last.
    pub fn end(&self) -> u64 {
        self.first + self.messages
    }

    /// Brings what is in memory to the file. What it does not take stays in memory.
    pub fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let file = self.open()?;
        let mut done = 0;
        let result = loop {
            let rest = self.unwritten.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match file.write_at(rest, self.written) {
                Ok(count) => {
                    done += count;
                    self.written += u64::try_from(count).unwrap_or(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.unsynced |= done > 0;
        self.unwritten.drain(..done);
        if self.unwritten.is_empty() {
            self.unwritten = Vec::new();
        }
        result
    }

    /// A file is created with its first bytes alone: one that has vanished does not come back.
    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).mode(FILE_MODE);
        if self.written > 0 {
            return options.open(&self.path);
        }
        if let Some(dir) = self.path.parent() {
            create_dir(dir)?;
        }
        options.create(true).truncate(true).open(&self.path)
    }

    /// Waits until the disk has what was written.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            File::open(&self.path)?.sync_data()?;
        }
        Ok(())
    }

    /// At most `max` bytes, and no less than one record if there is one, from `offset` on.
    pub fn read(&self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let max = max.max(HEAD_LEN + MAX_LEN);
        let mut bytes = Vec::new();
        if offset < self.written {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let limit = (self.written - offset).min(u64::try_from(max).unwrap_or(u64::MAX));
            file.take(limit).read_to_end(&mut bytes)?;
            if u64::try_from(bytes.len()).unwrap_or(0) < limit {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let read = offset + u64::try_from(bytes.len()).unwrap_or(0);
        if read >= self.written {
            let skip = usize::try_from(read - self.written).unwrap_or(usize::MAX);
            let rest = self.unwritten.get(skip..).unwrap_or_default();
            let room = max.saturating_sub(bytes.len());
            bytes.extend_from_slice(rest.get(..room).unwrap_or(rest));
        }
        Ok(bytes)
    }

    /// Whether it has a file no more.
    pub fn has_vanished(&self) -> bool {
        self.written > 0 && !self.path.exists()
    }

    /// The segment as it is to be deleted: it takes no memory.
    pub fn without_content(self) -> Segment {
        Segment { unwritten: Vec::new(), ..self }
    }

    /// Deletes the file.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory that is not there.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// What is in a segment file: header, messages, and bytes of the whole file.
pub fn look(path: &Path) -> io::Result<(Header, u64, u64)> {
    let file = File::open(path)?;
    let (header, messages, _) = scan(&file)?;
    Ok((header, messages, file.metadata()?.len()))
}

fn read_header(bytes: &[u8]) -> io::Result<Header> {
    let not_a_segment = || io::Error::new(io::ErrorKind::InvalidData, "not a segment of a spool");
    match Records::of(bytes).next() {
        Some(Ok(record)) if record.kind == Kind::Header => {
            let header: Header = serde_json::from_slice(record.bytes)?;
            if header.version == VERSION { Ok(header) } else { Err(not_a_segment()) }
        }
        _ => Err(not_a_segment()),
    }
}

/// Header, messages, and bytes of the whole records of a file.
fn scan(file: &File) -> io::Result<(Header, u64, u64)> {
    let (mut buffer, mut header, mut messages, mut whole) = (Vec::new(), None, 0, 0);
    loop {
        let before = buffer.len();
        (&mut &*file).take(READ as u64).read_to_end(&mut buffer)?;
        let at_end = buffer.len() == before;
        if header.is_none() {
            header = Some(read_header(&buffer)?);
        }
        let mut records = Records::of(&buffer);
        let mut broken = false;
        for record in records.by_ref() {
            match record {
                Ok(record) => messages += u64::from(record.kind == Kind::Message),
                Err(record::Broken) => broken = true,
            }
        }
        let read = records.read();
        whole += u64::try_from(read).unwrap_or(0);
        buffer.drain(..read);
        if at_end || broken {
            break;
        }
    }
    let header = header.ok_or(io::ErrorKind::InvalidData)?;
    Ok((header, messages, whole))
}

fn file_name(header: &Header) -> String {
    // A colon means a host to many programs.
    let ip = header.label.exporter.ip().to_string().replace(':', "-");
    let port = header.label.exporter.port();
    format!("{:016x}-{:08}_{ip}-{port}{SUFFIX}", header.spool, header.segment)
}

/// The whole messages that bytes consist of.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = MessageHeader::framed(bytes).ok()?;
        let (message, rest) = bytes.split_at_checked(header.length.into())?;
        bytes = rest;
        Some(message)
    })
}
