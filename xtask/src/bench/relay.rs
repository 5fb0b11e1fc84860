//! The hidden relay, the measure of all things here: the plainest program that passes bytes on.
//! TCP: read up to 64 KiB, write it to each destination. UDP: one datagram in, one out per call.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::page::{Count, Page, Part, RELAY};
use super::{Mode, Protocol, parts};

const BUFFER: usize = 64 << 10;

/// What the relay takes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    page: PathBuf,
    #[arg(long)]
    protocol: Protocol,
    #[arg(long)]
    mode: Mode,
    #[arg(long, required = true)]
    destination: Vec<SocketAddr>,
}

/// Relays until the exporter closes (TCP) or for ever (UDP).
pub fn run(args: &Args) -> Result<ExitCode> {
    let page = Page::open(&args.page)?;
    let part = page.part(RELAY)?;
    match args.protocol {
        Protocol::Tcp => tcp(&args.destination, part)?,
        Protocol::Udp => udp(args.mode, &args.destination, part)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tcp(destinations: &[SocketAddr], part: Part<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    part.set(Count::Port, listener.local_addr()?.port().into());
    let (mut input, _) = listener.accept()?;
    let mut outputs = Vec::new();
    for destination in destinations {
        let output = TcpStream::connect(destination)?;
        output.set_nodelay(true)?;
        outputs.push(output);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = input.read(&mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        for output in &mut outputs {
            output.write_all(bytes)?;
        }
    }
}

fn udp(mode: Mode, destinations: &[SocketAddr], part: Part<'_>) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    parts::set_receive_buffer(&socket)?;
    part.set(Count::Port, socket.local_addr()?.port().into());
    let mut buffer = vec![0; BUFFER];
    let mut turn = destinations.iter().cycle();
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let turn = match mode {
            Mode::RoundRobin => turn.by_ref().take(1),
            Mode::All => turn.by_ref().take(destinations.len()),
        };
        for destination in turn {
            socket.send_to(bytes, destination)?;
        }
    }
}
