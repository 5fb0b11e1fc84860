//! `nfacctd` of pmacct with its `tee` plugin: copies datagrams to a pool of receivers, or has them
//! take turns.

use std::ffi::OsString;

use anyhow::Result;

use super::{list, write};
use crate::bench::case::Route;
use crate::bench::parts::RECEIVE_BUFFER;
use crate::bench::side::Task;
use crate::bench::{Mode, Protocol};

/// What goes from its core to the plugin at once, as in its documentation's example, and the queue of
/// that: the largest that is "good practice" there. It does worse with less, and with none; more would
/// be held back until more comes.
const BUFFER: usize = 10 << 10;
const PIPE: usize = 1000 * BUFFER;

/// UDP only.
pub fn does(route: &Route) -> bool {
    route.input == Protocol::Udp && route.output == Protocol::Udp
}

/// Not in its transparent mode, which writes each packet's headers itself, and is slower.
pub fn command(task: &Task<'_>) -> Result<Vec<OsString>> {
    let turns = match task.route.mode {
        Mode::All => "",
        Mode::RoundRobin => " balance-alg=rr",
    };
    let pool = format!("id=1 ip={}{turns}\n", list(task.destinations, ","));
    let pool = write(task.directory, "receivers.lst", &pool)?;
    let text = format!(
        "daemonize: false\n\
         nfacctd_ip: {}\n\
         nfacctd_port: {}\n\
         nfacctd_pipe_size: {RECEIVE_BUFFER}\n\
         plugins: tee[bench]\n\
         tee_receivers[bench]: {}\n\
         tee_transparent: false\n\
         plugin_pipe_size[bench]: {PIPE}\n\
         plugin_buffer_size[bench]: {BUFFER}\n",
        task.listen.ip(),
        task.listen.port(),
        pool.display(),
    );
    let configuration = write(task.directory, "nfacctd.conf", &text)?;
    Ok(vec!["nfacctd".into(), "-f".into(), configuration])
}
