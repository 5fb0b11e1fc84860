//! Exporters over TCP.

mod exporter;
mod taking;

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{Shutdown, SocketAddr},
    os::fd::OwnedFd,
    rc::Rc,
    time::Duration,
};

use common::reason::Reason;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

#[cfg(test)]
pub use exporter::SENDING;
use exporter::{End, Exporter};

use crate::{
    handler::{Relay, Shared},
    net::socket::keep_alive,
    succession::{Exporter as Inherited, Heir, Leaving, Left, Place},
};

/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts exporters until the handler ends.
pub async fn serve(shared: Rc<Shared>, listener: TcpListener) {
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, stream, peer),
            Err(error) => {
                let receiver = shared.receiver().id;
                tracing::error!(%receiver, "can't accept an exporter: {error}; if these are too many open files, raise LimitNOFILE");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr) {
    if is_admitted(shared, peer) {
        // Without it the session of an exporter that vanished would only last longer.
        let _ = keep_alive(&stream);
        let place = shared.store.keep(&stream);
        let relay = Relay::open(shared, canonical(peer));
        if let Ok(local) = stream.local_addr() {
            relay.borrow_mut().set_local(canonical(local));
        }
        relay.borrow().note_begin();
        tokio::task::spawn_local(receive(Rc::clone(shared), stream, relay, place));
    }
}

fn is_admitted(shared: &Rc<Shared>, peer: SocketAddr) -> bool {
    let peer = canonical(peer);
    if !shared.allows(peer) {
        shared.report(Reason::NotAllowed, 1, peer, "The connection was closed.");
        return false;
    }
    if shared.is_crowded() {
        shared.report(Reason::SessionLimit, 1, peer, "The connection was closed.");
        return false;
    }
    true
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Goes on with the connections of the daemon before. `heirs` is what is known of their sessions;
/// `None`: nothing, though there was something to know.
pub fn resume(shared: &Rc<Shared>, heirs: Option<Vec<Heir>>, exporters: Vec<Inherited>) {
    let known = heirs.is_some();
    let session = |heir: Heir| ((heir.session.peer, heir.session.local), heir);
    let mut heirs: HashMap<_, _> = heirs.unwrap_or_default().into_iter().map(session).collect();
    for Inherited { stream, peer, place } in exporters {
        let connection = TcpStream::from_std(stream).and_then(|stream| {
            let local = canonical(stream.local_addr()?);
            Ok((stream, local))
        });
        let Ok((stream, local)) = connection else {
            place.into_iter().for_each(Place::release);
            continue;
        };
        if !known || !is_admitted(shared, peer) {
            // It has to send its templates anew.
            close(&stream, place);
            continue;
        }
        let relay = match heirs.remove(&(canonical(peer), local)) {
            Some(heir) => Relay::restore(shared, heir),
            // It was accepted, and then came the end: nothing had been taken from it.
            None => Relay::open(shared, canonical(peer)),
        };
        relay.borrow_mut().set_local(local);
        let place = place.or_else(|| shared.store.keep(&stream));
        tokio::task::spawn_local(receive(Rc::clone(shared), stream, relay, place));
    }
    shared.begin_journal();
}

/// Serves one exporter to its end, or to the handler's.
async fn receive(
    shared: Rc<Shared>,
    stream: TcpStream,
    relay: Rc<RefCell<Relay>>,
    place: Option<Place>,
) {
    let mut exporter = Exporter::new(Rc::clone(&shared), stream, Rc::clone(&relay));
    let end = exporter.run().await;
    let stream = exporter.stream;
    match end {
        End::Handler if shared.leaving.get() == Leaving::Everything => {
            relay.borrow_mut().wind_up("goes on with the next daemon");
            let socket = stream.into_std().map(OwnedFd::from);
            shared.leave_behind(&relay, socket.ok().map(|socket| Left { socket, place }));
        }
        End::Handler => {
            close(&stream, place);
            relay.borrow_mut().end("ends with the balancer");
        }
        End::Exporter(how) => {
            close(&stream, place);
            relay.borrow_mut().end(how);
        }
    }
}

/// Ends a connection: also where the service manager has a copy of the socket.
fn close(stream: &TcpStream, place: Option<Place>) {
    if let Some(place) = place {
        let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        place.release();
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use tokio::{sync::watch, task::LocalSet, time::Instant};

    use super::*;
    use crate::{
        config::{Config, Environment},
        record::Beat,
        stats::ReceiverStats,
        succession::{Journal, Store},
    };

    fn shared(stopping: watch::Receiver<bool>) -> Rc<Shared> {
        let text = "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=127.0.0.1/9";
        let checked = Config::parse(Path::new("test"), text, &Environment::default()).unwrap();
        let receiver = Arc::clone(&checked.config.receivers[0]);
        Rc::new(Shared::new(
            receiver,
            None,
            Beat::default(),
            Arc::new(ReceiverStats::default()),
            stopping,
            (Journal::default(), Store::default()),
        ))
    }

    /// With the clock paused, time passes at once when nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn half_a_message_and_then_silence_ends_the_connection() {
        let (_stop, stopping) = watch::channel(false);
        let shared = shared(stopping);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        client.try_write(&[0, 10, 0, 20, 0]).unwrap();
        let begun = Instant::now();
        LocalSet::new()
            .run_until(async {
                let relay = Relay::open(&shared, peer);
                receive(Rc::clone(&shared), stream, relay, None).await;
            })
            .await;
        assert!(begun.elapsed() >= Duration::from_secs(shared.limits().message_seconds.into()));
        let drops: Vec<_> = shared.stats.drops.occurred().collect();
        assert_eq!(drops, [(Reason::IdleTimeout, 1)]);
    }
}
