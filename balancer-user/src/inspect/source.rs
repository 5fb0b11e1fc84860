//! Where messages come from: IPFIX Files (RFC 5655), compressed or not, and captures.

use std::{
    fs::File,
    io::{self, Cursor, ErrorKind, Read},
    net::SocketAddr,
    path::Path,
};

use super::{
    capture,
    fault::Fault,
    framer::{Framer, Piece},
};
use crate::config::Protocol;

/// The name that stands for standard input.
const STDIN: &str = "-";
const CHUNK: usize = 64 << 10;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The two ends of a transport session, as a capture shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who sends.
    pub exporter: SocketAddr,
    /// Whom it is sent to.
    pub collector: SocketAddr,
}

/// The output can't be written to: reading is over.
#[derive(Debug, thiserror::Error)]
#[error("can't write: {0}")]
pub struct Stop(#[from] pub io::Error);

/// Takes what a source finds, in order. An `offset` is a place in the file, after decompression;
/// in a capture it is that of the packet.
pub trait Sink {
    /// A whole message, by its length field. A file that is no capture has no flow.
    fn message(&mut self, flow: Option<&Flow>, offset: u64, message: &[u8]) -> Result<(), Stop>;

    /// Something is wrong in this place.
    fn fault(&mut self, offset: u64, fault: Fault) -> Result<(), Stop>;

    /// A session has ended, and with it the templates of its exporter.
    fn ended(&mut self, flow: &Flow);
}

/// Reads the file at `path`, or standard input for `-`. A file whose name ends in `.part` is still
/// being written: that it ends in the middle of a message is no fault.
pub fn read(path: &Path, sink: &mut impl Sink) -> Result<(), Stop> {
    let growing = path.extension().is_some_and(|extension| extension == "part");
    match open(path) {
        Ok(input) => read_from(input, growing, sink),
        Err(error) => sink.fault(0, error.into()),
    }
}

type Input<'a> = Box<dyn Read + Send + 'a>;

fn open(path: &Path) -> io::Result<Input<'static>> {
    match path.as_os_str() == STDIN {
        true => Ok(Box::new(io::stdin())),
        false => Ok(Box::new(File::open(path)?)),
    }
}

/// Reads what `input` holds, whichever of the forms that is.
pub fn read_from(input: impl Read + Send, growing: bool, sink: &mut impl Sink) -> Result<(), Stop> {
    match unpacked(Box::new(input)).and_then(peek) {
        Ok((first, input)) if capture::is_capture(&first) => capture::read(input, sink),
        Ok((_, input)) => read_messages(input, growing, sink),
        Err(error) => unreadable(error, 0, growing, sink),
    }
}

/// Reports that the input can't be read on from here. Compression of a file that is still being
/// written has not come further, which is no fault.
fn unreadable(
    error: io::Error,
    offset: u64,
    growing: bool,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    match growing && error.kind() == ErrorKind::UnexpectedEof {
        true => Ok(()),
        false => sink.fault(offset, error.into()),
    }
}

/// The input without its compression, if it has one.
fn unpacked(input: Input<'_>) -> io::Result<Input<'_>> {
    let (first, input) = peek(input)?;
    match first == ZSTD_MAGIC {
        true => Ok(Box::new(zstd::Decoder::new(input)?)),
        false => Ok(input),
    }
}

/// The first four bytes, fewer in a shorter input, and the whole input.
fn peek(mut input: Input<'_>) -> io::Result<(Vec<u8>, Input<'_>)> {
    let mut first = Vec::new();
    input.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut first)?;
    Ok((first.clone(), Box::new(Cursor::new(first).chain(input))))
}

fn read_messages(mut input: Input<'_>, growing: bool, sink: &mut impl Sink) -> Result<(), Stop> {
    let mut framer = Framer::default();
    let (mut chunk, mut offset) = (vec![0; CHUNK], 0);
    loop {
        let bytes = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => chunk.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                unreadable(error, offset, growing, sink)?;
                break;
            }
        };
        offset += bytes.len() as u64;
        framer.push(bytes);
        while let Some(piece) = framer.next(false) {
            pass_on(piece, sink)?;
        }
    }
    while let Some(piece) = framer.next(true) {
        match piece {
            Piece::Skipped(at, length) if growing && at + length == offset => {}
            piece => pass_on(piece, sink)?,
        }
    }
    Ok(())
}

fn pass_on(piece: Piece<'_>, sink: &mut impl Sink) -> Result<(), Stop> {
    match piece {
        Piece::Message(at, message) => sink.message(None, at, message),
        Piece::Skipped(at, length) => sink.fault(at, Fault::NoMessage(length)),
    }
}
