//! A request by HTTP, as simple as one can be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};

use crate::poll;

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For example 200.
    pub status: u16,
    /// Lines of the header, in small letters.
    pub header: Vec<String>,
    /// The body.
    pub body: String,
}

/// Asks for a page, and waits for all of it.
pub fn get(server: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(poll::PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (header, body) = answer.split_once("\r\n\r\n").context("no end of the header")?;
    let mut lines = header.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
    Ok(Answer {
        status: status.parse()?,
        header: lines.map(str::to_lowercase).collect(),
        body: body.to_owned(),
    })
}
