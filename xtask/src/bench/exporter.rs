//! The hidden exporter: sends prebuilt messages at full speed or at a steady rate, from one session
//! or from many in turn.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::prctl;
use nix::sys::socket::{setsockopt, sockopt};

use super::message::{Batch, Sizes, now, templates};
use super::page::{Count, EXPORTER, Page, Part, Phase};
use super::{Protocol, sys};
use crate::process;

/// Bytes per write on TCP.
const TCP_BATCH: usize = 180_000;
/// Bytes per call on UDP, and messages: what one segmented send takes.
const UDP_BATCH: usize = 62_000;
const UDP_SEGMENTS: usize = 64;
/// The same where many sessions take turns: an exporter does not send much at once.
const TCP_TURN: usize = 12_000;
const UDP_TURN: usize = 1;
/// How often templates are repeated until a UDP path is up.
const TEMPLATE_PAUSE: Duration = Duration::from_millis(20);
/// Between two new sessions: a receiver's backlog is short, and a burst of strangers is not what is
/// measured here.
const SESSION_PAUSE: Duration = Duration::from_micros(200);
/// Distance of the groups of messages at a steady rate, in nanoseconds.
const TICK: u64 = 100_000;

/// What the exporter takes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    page: PathBuf,
    #[arg(long)]
    protocol: Protocol,
    /// Where to; the sessions are shared out among several
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    #[arg(long)]
    sizes: Sizes,
    /// Templates of a session
    #[arg(long, default_value_t = 1)]
    templates: u16,
    /// Messages per second; 0 for as many as go out
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value_t = 1)]
    sessions: usize,
}

impl Args {
    /// Messages that a session sends at once.
    fn batch(&self) -> usize {
        let longest = Batch::new(1, self.sizes).first_len().max(match self.sizes {
            Sizes::Equal(_) => 0,
            Sizes::Varied | Sizes::Variable => 1400,
        });
        let many = self.sessions > 1;
        let bytes = |bytes: usize| (bytes / longest.max(1)).max(1);
        match self.protocol {
            Protocol::Tcp => bytes(if many { TCP_TURN } else { TCP_BATCH }),
            Protocol::Udp if many => UDP_TURN,
            Protocol::Udp => bytes(UDP_BATCH).min(UDP_SEGMENTS),
        }
    }
}

/// Sends until the phase says stop. The sessions stay open until everything ends.
pub fn run(args: &Args) -> Result<ExitCode> {
    process::raise_open_files()?;
    let page = Page::open(&args.page)?;
    let part = page.part(EXPORTER)?;
    let mut batch = Batch::new(args.batch(), args.sizes).with_templates(args.templates);
    let templates = templates(args.sizes, args.templates);
    let mut sessions = Sessions::open(args, &batch, &templates, part)?;
    sessions.introduce(&templates, &page)?;
    match args.rate {
        0 => full_speed(&mut sessions, &page, part, &mut batch)?,
        rate => paced(&mut sessions, &page, part, &mut batch, rate)?,
    }
    part.set(Count::Done, 1);
    Ok(ExitCode::SUCCESS)
}

/// Sessions that send in turn.
struct Sessions {
    all: Vec<Session>,
    next: usize,
}

impl Sessions {
    fn open(args: &Args, batch: &Batch, templates: &[Vec<u8>], part: Part<'_>) -> Result<Self> {
        let mut all = Vec::with_capacity(args.sessions);
        for target in args.target.iter().cycle().take(args.sessions) {
            let mut session = Session::open(args, *target, batch)?;
            session.send_templates(templates)?;
            all.push(session);
            part.add(Count::Connections, 1);
            sleep(SESSION_PAUSE);
        }
        Ok(Self { all, next: 0 })
    }

    /// Sends the templates until the bench has seen them arrive.
    fn introduce(&mut self, templates: &[Vec<u8>], page: &Page) -> Result<()> {
        let mut last = Instant::now();
        while page.phase() == Phase::Setup {
            sleep(Duration::from_millis(1));
            if last.elapsed() < TEMPLATE_PAUSE {
                continue;
            }
            for session in &mut self.all {
                if !matches!(session.wire, Wire::Tcp(_)) {
                    session.send_templates(templates)?;
                }
            }
            last = Instant::now();
        }
        Ok(())
    }

    /// The next one sends the first `count` messages of the batch; how many went out.
    fn send(&mut self, batch: &mut Batch, count: usize, stamp: u64) -> io::Result<usize> {
        let sessions = self.all.len();
        let session = self.all.get_mut(self.next).ok_or(io::ErrorKind::NotConnected)?;
        self.next = (self.next + 1) % sessions;
        session.send(batch, count, stamp)
    }
}

/// One transport session.
struct Session {
    wire: Wire,
    sequence: u32,
}

enum Wire {
    Tcp(TcpStream),
    /// Equal messages leave as one segmented datagram.
    Segmented(UdpSocket),
    Single(UdpSocket),
}

impl Session {
    fn open(args: &Args, target: SocketAddr, batch: &Batch) -> Result<Self> {
        let wire = match args.protocol {
            Protocol::Tcp => {
                let stream = TcpStream::connect(target)?;
                stream.set_nodelay(true)?;
                Wire::Tcp(stream)
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.connect(target)?;
                let segment = i32::try_from(batch.first_len())?;
                if matches!(args.sizes, Sizes::Equal(_)) {
                    setsockopt(&socket, sockopt::UdpGsoSegment, &segment)?;
                    Wire::Segmented(socket)
                } else {
                    Wire::Single(socket)
                }
            }
        };
        Ok(Self { wire, sequence: 0 })
    }

    fn send_templates(&mut self, messages: &[Vec<u8>]) -> io::Result<()> {
        messages.iter().try_for_each(|message| match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(message),
            Wire::Segmented(socket) | Wire::Single(socket) => socket.send(message).map(|_| ()),
        })
    }

    fn send(&mut self, batch: &mut Batch, count: usize, stamp: u64) -> io::Result<usize> {
        let bytes = batch.prepare(count, &mut self.sequence, stamp);
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(bytes).map(|()| count),
            Wire::Segmented(socket) => socket.send(bytes).map(|_| count),
            Wire::Single(socket) => sys::send_many(socket.as_fd(), &mut batch.messages(count)),
        }
    }
}

fn full_speed(
    sessions: &mut Sessions,
    page: &Page,
    part: Part<'_>,
    batch: &mut Batch,
) -> Result<()> {
    while page.phase() < Phase::Stop {
        let sent = sessions.send(batch, batch.len(), 0)?;
        part.add(Count::Messages, u64::try_from(sent)?);
    }
    Ok(())
}

/// Sends small groups at even distances. Those that are late leave one after another, in groups of no
/// more messages than the others.
fn paced(
    sessions: &mut Sessions,
    page: &Page,
    part: Part<'_>,
    batch: &mut Batch,
    rate: u32,
) -> Result<()> {
    prctl::set_timerslack(1)?;
    let group =
        usize::try_from((u64::from(rate) * TICK).div_ceil(1_000_000_000))?.clamp(1, batch.len());
    let start = now();
    let (mut next, mut sent) = (start, 0_u64);
    while page.phase() < Phase::Stop {
        let time = now();
        if time < next {
            sleep(Duration::from_nanos(next - time));
            continue;
        }
        next += TICK;
        let due = (time - start).saturating_mul(u64::from(rate)) / 1_000_000_000;
        while sent < due {
            let count = usize::try_from(due - sent)?.min(group);
            let stamp = if page.phase() == Phase::Stamp { now() } else { 0 };
            let went = u64::try_from(sessions.send(batch, count, stamp)?)?;
            part.add(Count::Messages, went);
            sent += u64::try_from(count)?;
        }
    }
    Ok(())
}
