//! nginx with its `stream` module: sends each exporter to one of the destinations, in turn. What
//! that exporter sends later goes there as well: it knows connections, not messages.

use std::ffi::OsString;
use std::fmt::Write as _;

use anyhow::Result;

use super::write;
use crate::bench::case::Route;
use crate::bench::parts::RECEIVE_BUFFER;
use crate::bench::side::Task;
use crate::bench::{Mode, Protocol};

/// It has no copies, and does not change the protocol.
pub fn does(route: &Route) -> bool {
    route.mode == Mode::RoundRobin && route.input == route.output
}

/// One worker: there is one CPU. Without `proxy_responses`, which would end a UDP session, and its
/// socket, after each datagram.
pub fn command(task: &Task<'_>) -> Result<Vec<OsString>> {
    let mut servers = String::new();
    for destination in task.destinations {
        writeln!(servers, "        server {destination};")?;
    }
    let listen = match task.route.input {
        Protocol::Tcp => format!("{} backlog=4096", task.listen),
        Protocol::Udp => format!("{} udp rcvbuf={RECEIVE_BUFFER}", task.listen),
    };
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\n\
         pid nginx.pid;\n\
         error_log stderr warn;\n\
         worker_processes 1;\n\
         worker_rlimit_nofile 16384;\n\
         events {{\n    worker_connections 8192;\n    multi_accept on;\n}}\n\
         stream {{\n\
         \x20   upstream collectors {{\n{servers}    }}\n\
         \x20   server {{\n\
         \x20       listen {listen};\n\
         \x20       proxy_pass collectors;\n\
         \x20       proxy_buffer_size 64k;\n\
         \x20       proxy_timeout 10m;\n\
         \x20       tcp_nodelay on;\n\
         \x20   }}\n\
         }}\n"
    );
    let configuration = write(task.directory, "nginx.conf", &text)?;
    let prefix = ["nginx".into(), "-e".into(), "stderr".into(), "-p".into()];
    Ok([prefix.as_slice(), &[task.directory.into(), "-c".into(), configuration]].concat())
}
