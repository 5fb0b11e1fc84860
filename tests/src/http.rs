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
    /// Lines of the header, their names in small letters.
    pub header: Vec<String>,
    /// The body.
    pub body: String,
}

/// Asks for a page, and waits for all of it.
pub fn get(server: SocketAddr, path: &str) -> Result<Answer> {
    request(server, "GET", path, &[], "")
}

/// Sends a request, and waits for all of the answer.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    header: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(poll::PATIENCE))?;
    let header: String =
        header.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{header}\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (header, body) = answer.split_once("\r\n\r\n").context("no end of the header")?;
    let mut lines = header.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
    Ok(Answer {
        status: status.parse()?,
        header: lines.map(lower_name).collect(),
        body: body.to_owned(),
    })
}

/// A line of the header, its name in small letters.
fn lower_name(line: &str) -> String {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    format!("{}:{value}", name.to_lowercase())
}
