//! The hidden relay, a measure beside the peers: the plainest program that passes bytes on.
//! TCP: read up to 64 KiB, write it to each destination. UDP: one datagram in, one out per call.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;

use anyhow::Result;

use super::{Mode, Protocol, parts};

const BUFFER: usize = 64 << 10;

/// What the relay takes.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    protocol: Protocol,
    #[arg(long)]
    mode: Mode,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, required = true)]
    destination: Vec<SocketAddr>,
}

/// Relays for ever.
pub fn run(args: &Args) -> Result<ExitCode> {
    match args.protocol {
        Protocol::Tcp => tcp(args.listen, &args.destination)?,
        Protocol::Udp => udp(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A connection to each destination for each that comes, and a thread.
fn tcp(listen: SocketAddr, destinations: &[SocketAddr]) -> Result<()> {
    for input in TcpListener::bind(listen)?.incoming() {
        let input = input?;
        let outputs = destinations.iter().map(|destination| {
            let output = TcpStream::connect(destination)?;
            output.set_nodelay(true)?;
            Ok(output)
        });
        let outputs = outputs.collect::<io::Result<Vec<_>>>()?;
        thread::Builder::new().name("relay".into()).spawn(|| {
            if let Err(error) = copy(input, outputs) {
                eprintln!("relay: {error}");
            }
        })?;
    }
    Ok(())
}

fn copy(mut input: TcpStream, mut outputs: Vec<TcpStream>) -> io::Result<()> {
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

fn udp(args: &Args) -> Result<()> {
    let (mode, destinations) = (args.mode, &args.destination);
    let socket = UdpSocket::bind(args.listen)?;
    parts::set_receive_buffer(&socket)?;
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
