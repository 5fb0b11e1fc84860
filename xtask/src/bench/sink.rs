//! The hidden sink: takes what arrives, counts messages, follows sequence numbers and, where
//! messages carry a time, keeps how long each was on its way.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::message::{OVERHEAD, RECORD_LEN, SEQUENCE_AT, STAMP_AT, TEMPLATE_SET, now};
use super::page::{Count, Page, Part, Phase};
use super::{Protocol, parts, sys};
use crate::process;

/// How long to wait for input before looking at the phase again.
const IDLE: Duration = Duration::from_millis(20);
/// Between two looks at a socket that has nothing. A sink that sleeps until something comes is woken
/// by each message that comes alone, which costs the sender more than the message: what would be
/// measured is that.
const REST: Duration = Duration::from_micros(500);
const TCP_BUFFER: usize = 512 << 10;
const UDP_BUFFERS: usize = 32;

/// What the sink takes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    page: PathBuf,
    #[arg(long)]
    place: usize,
    #[arg(long)]
    protocol: Protocol,
    /// Where the times on the way go: 4 bytes each, in nanoseconds
    #[arg(long)]
    times: Option<PathBuf>,
}

/// Takes input until the phase says so and nothing more comes.
pub fn run(args: &Args) -> Result<ExitCode> {
    process::raise_open_files()?;
    let page = Page::open(&args.page)?;
    let part = page.part(args.place)?;
    let mut tally = Tally { times: args.times.is_some().then(Vec::new), ..Tally::default() };
    match args.protocol {
        Protocol::Tcp => tcp(&page, part, &mut tally)?,
        Protocol::Udp => udp(&page, part, &mut tally)?,
    }
    if let (Some(path), Some(times)) = (&args.times, &tally.times) {
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        fs::write(path, bytes)?;
    }
    part.set(Count::Done, 1);
    Ok(ExitCode::SUCCESS)
}

/// Counts since the last publication.
#[derive(Default)]
struct Tally {
    messages: u64,
    templates: u64,
    gaps: u64,
    missing: u64,
    malformed: u64,
    times: Option<Vec<u32>>,
}

impl Tally {
    /// Takes the whole messages that `bytes` start with; how many bytes those are.
    fn take(&mut self, bytes: &[u8], expected: &mut Option<u32>) -> usize {
        // One reading of the clock for all that was read at once.
        let time = if self.times.is_some() { now() } else { 0 };
        let mut rest = bytes;
        while let Some(&[0, 10, high, low]) = rest.first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some((message, after)) = rest.split_at_checked(length.max(OVERHEAD)) else { break };
            self.message(message, expected, time);
            rest = after;
        }
        if rest.len() >= 4 && !rest.starts_with(&[0, 10]) {
            self.malformed += 1;
            return bytes.len();
        }
        bytes.len() - rest.len()
    }

    fn message(&mut self, message: &[u8], expected: &mut Option<u32>, time: u64) {
        if field(message, 16).map(u16::from_be_bytes) == Some(TEMPLATE_SET) {
            self.templates += 1;
            return;
        }
        self.messages += 1;
        let sequence = field(message, SEQUENCE_AT).map_or(0, u32::from_be_bytes);
        let missing = expected.map_or(0, |expected| sequence.wrapping_sub(expected));
        if missing != 0 {
            self.gaps += 1;
            // A number that steps back is a gap of its own, not one of 4 billion records.
            self.missing += u64::from(missing) * u64::from(missing < 1 << 31);
        }
        let records = (message.len() - OVERHEAD) / RECORD_LEN;
        *expected = Some(sequence.wrapping_add(u32::try_from(records).unwrap_or(0)));
        if let Some(times) = &mut self.times {
            let sent = field(message, STAMP_AT).map_or(0, u64::from_be_bytes);
            if sent != 0 {
                times.push(u32::try_from(time.saturating_sub(sent)).unwrap_or(u32::MAX));
            }
        }
    }

    fn publish(&mut self, part: Part<'_>) {
        part.add(Count::Messages, std::mem::take(&mut self.messages));
        part.add(Count::Templates, std::mem::take(&mut self.templates));
        part.add(Count::Gaps, std::mem::take(&mut self.gaps));
        part.add(Count::Missing, std::mem::take(&mut self.missing));
        part.add(Count::Malformed, std::mem::take(&mut self.malformed));
    }
}

fn field<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..)?.first_chunk().copied()
}

fn udp(page: &Page, part: Part<'_>, tally: &mut Tally) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    parts::set_receive_buffer(&socket)?;
    setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    // Times on the way are true only if every arrival wakes the sink.
    let prompt = tally.times.is_some();
    socket.set_nonblocking(!prompt)?;
    socket.set_read_timeout(Some(IDLE))?;
    part.set(Count::Port, socket.local_addr()?.port().into());
    let mut receiver = sys::Receiver::new(UDP_BUFFERS, 64 << 10);
    // One sender is what is measured; with many, gaps mean nothing and are not looked at.
    let mut expected = None;
    loop {
        let outcome = receiver.receive(socket.as_fd(), |bytes| {
            if tally.take(bytes, &mut expected) != bytes.len() {
                tally.malformed += 1;
            }
        });
        tally.publish(part);
        match outcome {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                if prompt && page.phase() == Phase::Finish {
                    return Ok(());
                }
                if !prompt {
                    sleep(REST);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A connection: what it sent of an unfinished message, and the next sequence number.
struct Connection {
    stream: TcpStream,
    unfinished: Vec<u8>,
    expected: Option<u32>,
}

fn tcp(page: &Page, part: Part<'_>, tally: &mut Tally) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    part.set(Count::Port, listener.local_addr()?.port().into());
    // Times on the way are true only if every arrival wakes the sink.
    let prompt = tally.times.is_some();
    let patience = if prompt { IDLE } else { Duration::ZERO };
    let mut connections: Vec<Connection> = Vec::new();
    let mut buffer = vec![0; TCP_BUFFER];
    loop {
        let ready = wait_for_input(&listener, &connections, patience)?;
        if ready.is_empty() && page.phase() == Phase::Finish {
            return Ok(());
        }
        if ready.is_empty() && !prompt {
            sleep(REST);
        }
        // Backwards, so that removing one leaves the places of the others.
        for place in ready.into_iter().rev() {
            let Some(connection) = place.checked_sub(1) else {
                connections.extend(accept(&listener, part)?);
                continue;
            };
            let open = connections.get_mut(connection).is_some_and(|c| c.read(&mut buffer, tally));
            if !open {
                connections.swap_remove(connection);
            }
            tally.publish(part);
        }
    }
}

/// Which can be read: 0 for the listener, n + 1 for connection n.
fn wait_for_input(
    listener: &TcpListener,
    connections: &[Connection],
    patience: Duration,
) -> Result<Vec<usize>> {
    let mut all = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let streams = connections.iter().map(|connection| connection.stream.as_fd());
    all.extend(streams.map(|stream| PollFd::new(stream, PollFlags::POLLIN)));
    poll(&mut all, PollTimeout::try_from(patience)?)?;
    let ready = all.iter().enumerate().filter(|(_, fd)| fd.any().unwrap_or(false));
    Ok(ready.map(|(place, _)| place).collect())
}

fn accept(listener: &TcpListener, part: Part<'_>) -> Result<Vec<Connection>> {
    let mut accepted = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        part.add(Count::Connections, 1);
        accepted.push(Connection { stream, unfinished: Vec::new(), expected: None });
    }
    Ok(accepted)
}

impl Connection {
    /// Reads once; false when the connection has ended.
    fn read(&mut self, buffer: &mut [u8], tally: &mut Tally) -> bool {
        let kept = self.unfinished.len();
        let Some((front, free)) = buffer.split_at_mut_checked(kept) else { return false };
        front.copy_from_slice(&self.unfinished);
        let length = match self.stream.read(free) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => {
                return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            }
        };
        let bytes = buffer.get(..kept + length).unwrap_or_default();
        let taken = tally.take(bytes, &mut self.expected);
        self.unfinished.clear();
        self.unfinished.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        true
    }
}
