//! The hidden exporter: sends prebuilt messages at full speed or at a steady rate, from one session
//! or from many.

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

use super::message::{Batch, Sizes, now, template};
use super::page::{Count, EXPORTER, Page, Part, Phase};
use super::{Protocol, sys};
use crate::process;

/// Messages per write on TCP: 180 kB.
const TCP_BATCH: usize = 128;
/// Messages per call on UDP: as many of 1400 bytes as one segmented send takes.
const UDP_BATCH: usize = 44;
/// How often templates are repeated until a UDP path is up.
const TEMPLATE_PAUSE: Duration = Duration::from_millis(20);
/// Messages of each session when there are many.
const MESSAGES_PER_SESSION: usize = 20;

/// What the exporter takes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    page: PathBuf,
    #[arg(long)]
    protocol: Protocol,
    #[arg(long)]
    target: SocketAddr,
    #[arg(long)]
    sizes: Sizes,
    /// Messages per second; 0 for as many as go out
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value_t = 1)]
    sessions: usize,
}

/// Sends until the phase says stop.
pub fn run(args: &Args) -> Result<ExitCode> {
    process::raise_open_files()?;
    let page = Page::open(&args.page)?;
    let part = page.part(EXPORTER)?;
    let count = if args.protocol == Protocol::Tcp { TCP_BATCH } else { UDP_BATCH };
    let mut batch = Batch::new(count, args.sizes);
    if args.sessions > 1 {
        many_sessions(args, &page, part, &mut batch)?;
    } else {
        let mut session = Session::open(args, &batch)?;
        introduce(&mut session, &page)?;
        match args.rate {
            0 => full_speed(&mut session, &page, part, &mut batch)?,
            rate => paced(&mut session, &page, part, &mut batch, rate)?,
        }
    }
    part.set(Count::Done, 1);
    Ok(ExitCode::SUCCESS)
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
    fn open(args: &Args, batch: &Batch) -> Result<Self> {
        let wire = match args.protocol {
            Protocol::Tcp => {
                let stream = TcpStream::connect(args.target)?;
                stream.set_nodelay(true)?;
                Wire::Tcp(stream)
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.connect(args.target)?;
                let segment = i32::try_from(batch.first_len())?;
                if args.sizes == Sizes::Equal {
                    setsockopt(&socket, sockopt::UdpGsoSegment, &segment)?;
                    Wire::Segmented(socket)
                } else {
                    Wire::Single(socket)
                }
            }
        };
        Ok(Self { wire, sequence: 0 })
    }

    fn send_template(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(&template()),
            Wire::Segmented(socket) | Wire::Single(socket) => socket.send(&template()).map(|_| ()),
        }
    }

    /// Sends the first `count` messages of the batch; how many went out.
    fn send(&mut self, batch: &mut Batch, count: usize, stamp: u64) -> io::Result<usize> {
        let bytes = batch.prepare(count, &mut self.sequence, stamp);
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(bytes).map(|()| count),
            Wire::Segmented(socket) => socket.send(bytes).map(|_| count),
            Wire::Single(socket) => sys::send_many(socket.as_fd(), &mut batch.messages(count)),
        }
    }
}

/// Sends the template until the bench has seen it arrive.
fn introduce(session: &mut Session, page: &Page) -> Result<()> {
    session.send_template()?;
    let mut last = Instant::now();
    while page.phase() == Phase::Setup {
        sleep(Duration::from_millis(1));
        if last.elapsed() > TEMPLATE_PAUSE && !matches!(session.wire, Wire::Tcp(_)) {
            session.send_template()?;
            last = Instant::now();
        }
    }
    Ok(())
}

fn full_speed(session: &mut Session, page: &Page, part: Part<'_>, batch: &mut Batch) -> Result<()> {
    while page.phase() < Phase::Stop {
        let sent = session.send(batch, batch.len(), 0)?;
        part.add(Count::Messages, u64::try_from(sent)?);
    }
    Ok(())
}

/// Sends small groups at even distances: every 0.1 ms up to 50,000 messages a second, else 1 ms.
fn paced(
    session: &mut Session,
    page: &Page,
    part: Part<'_>,
    batch: &mut Batch,
    rate: u32,
) -> Result<()> {
    prctl::set_timerslack(1)?;
    let tick = if rate <= 50_000 { 100_000 } else { 1_000_000 };
    let start = now();
    let (mut next, mut sent) = (start, 0_u64);
    while page.phase() < Phase::Stop {
        let time = now();
        if time < next {
            sleep(Duration::from_nanos(next - time));
            continue;
        }
        next += tick;
        let due = (time - start).saturating_mul(u64::from(rate)) / 1_000_000_000;
        while sent < due {
            let count = usize::try_from(due - sent)?.min(batch.len());
            let stamp = if page.phase() == Phase::Stamp { now() } else { 0 };
            let went = u64::try_from(session.send(batch, count, stamp)?)?;
            part.add(Count::Messages, went);
            sent += u64::try_from(count)?;
        }
    }
    Ok(())
}

/// Opens every session, sends a little on each, and keeps them open until told to stop.
fn many_sessions(args: &Args, page: &Page, part: Part<'_>, batch: &mut Batch) -> Result<()> {
    let mut sessions = Vec::with_capacity(args.sessions);
    for _ in 0..args.sessions {
        let mut session = Session::open(args, batch)?;
        session.send_template()?;
        sessions.push(session);
        part.add(Count::Connections, 1);
        // A receiver's backlog is short, and a burst of strangers is not what is measured here.
        sleep(Duration::from_micros(200));
    }
    for _ in 0..MESSAGES_PER_SESSION {
        for session in &mut sessions {
            part.add(Count::Messages, u64::try_from(session.send(batch, 1, 0)?)?);
        }
        sleep(Duration::from_millis(20));
    }
    part.set(Count::Done, 1);
    while page.phase() < Phase::Stop {
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
