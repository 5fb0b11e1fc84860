//! The sockets that a daemon before this one has left.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Socket, Type};
use tracing::{info, warn};

use super::store::{Place, Store};
use crate::{
    config::{Protocol, Receiver},
    notify::Notifier,
};

/// What is left, until a receiver takes it.
#[derive(Debug, Default)]
pub struct Heritage {
    sockets: Vec<Inherited>,
}

#[derive(Debug)]
struct Inherited {
    socket: Socket,
    place: Option<Place>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A receiver's: where it listens.
    Listening(Protocol, SocketAddr),
    /// A connection with an exporter: our end of it.
    Connection(SocketAddr),
}

/// A connection with an exporter.
#[derive(Debug)]
pub struct Exporter {
    /// The connection, non-blocking.
    pub stream: TcpStream,
    /// The exporter.
    pub peer: SocketAddr,
    /// Its place in the service manager's store.
    pub place: Option<Place>,
}

impl Heritage {
    /// What is left to this process, by the service manager or `handed_on` by another process, and
    /// the store for what is to be kept by it. To be called once, before anything else is opened.
    pub fn take(notifier: Notifier, handed_on: Vec<OwnedFd>) -> (Heritage, Store) {
        let mut descriptors: Vec<_> = handed_on.into_iter().map(|socket| (None, socket)).collect();
        match sd_listen_fds::get() {
            Ok(passed) => {
                descriptors.extend(passed.into_iter().map(|(name, fd)| (name, fd.into_std())));
            }
            Err(error) => warn!("the service manager has passed no sockets: {error}"),
        }
        let names = descriptors.iter().filter_map(|(name, _)| name.as_deref());
        let store = Store::new(notifier, names);
        let sockets: Vec<Inherited> = descriptors
            .into_iter()
            .filter_map(|(name, socket)| {
                Inherited::of(socket, name.and_then(|name| store.place(&name)))
            })
            .collect();
        if !sockets.is_empty() {
            info!(sockets = sockets.len(), "taken over from the daemon before");
        }
        (Heritage { sockets }, store)
    }

    /// The socket that listens where `receiver` is to listen.
    pub fn listening(&mut self, receiver: &Receiver) -> Option<(Socket, Option<Place>)> {
        let wanted = |kind: Kind| matches!(kind, Kind::Listening(..)) && is_of(kind, receiver);
        let at = self.sockets.iter().position(|inherited| wanted(inherited.kind))?;
        let Inherited { socket, place, .. } = self.sockets.swap_remove(at);
        Some((socket, place))
    }

    /// The connections of `receiver`.
    pub fn exporters(&mut self, receiver: &Receiver) -> Vec<Exporter> {
        let wanted = |inherited: &mut Inherited| {
            matches!(inherited.kind, Kind::Connection(_)) && is_of(inherited.kind, receiver)
        };
        self.sockets.extract_if(.., wanted).filter_map(Exporter::of).collect()
    }

    /// Closes what belongs to none of the receivers; whether there was anything.
    pub fn close_others(&mut self, receivers: &[Arc<Receiver>]) -> bool {
        let unwanted =
            |it: &mut Inherited| !receivers.iter().any(|receiver| is_of(it.kind, receiver));
        let others: Vec<Inherited> = self.sockets.extract_if(.., unwanted).collect();
        if !others.is_empty() {
            info!(sockets = others.len(), "closed: no receiver is configured for them any more");
        }
        let any = !others.is_empty();
        others.into_iter().for_each(Inherited::close);
        any
    }
}

impl Inherited {
    /// Looks at what was left. What is no socket of a receiver is closed.
    fn of(socket: OwnedFd, place: Option<Place>) -> Option<Inherited> {
        // The service manager passes it open for programs that we run, too.
        let _ = fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        let socket = Socket::from(socket);
        let Some(kind) = kind(&socket) else {
            // A connection whose exporter is gone altogether has no peer any more.
            if let Some(place) = place {
                place.release();
            }
            return None;
        };
        let _ = socket.set_nonblocking(true);
        Some(Inherited { socket, place, kind })
    }

    fn close(self) {
        // As long as the service manager has a copy, closing ours says nothing to anybody.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(place) = self.place {
            place.release();
        }
    }
}

impl Exporter {
    fn of(inherited: Inherited) -> Option<Exporter> {
        let Inherited { socket, place, .. } = inherited;
        match socket.peer_addr().ok().and_then(|peer| peer.as_socket()) {
            Some(peer) => Some(Exporter { stream: socket.into(), peer, place }),
            None => {
                place.into_iter().for_each(Place::release);
                None
            }
        }
    }
}

fn kind(socket: &Socket) -> Option<Kind> {
    let local = socket.local_addr().ok()?.as_socket()?;
    let r#type = socket.r#type().ok()?;
    if r#type == Type::DGRAM {
        return Some(Kind::Listening(Protocol::Udp, local));
    }
    if r#type != Type::STREAM {
        return None;
    }
    match socket.is_listener().ok()? {
        true => Some(Kind::Listening(Protocol::Tcp, local)),
        false => socket.peer_addr().ok().map(|_| Kind::Connection(local)),
    }
}

/// Whether a socket is where `receiver` listens, or a connection that it would have accepted.
fn is_of(kind: Kind, receiver: &Receiver) -> bool {
    let everywhere = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    match kind {
        Kind::Listening(protocol, at) => {
            protocol == receiver.protocol
                && at.port() == receiver.port
                && receiver.bind.map_or(everywhere.contains(&at.ip()), |bind| bind == at.ip())
        }
        Kind::Connection(local) => {
            receiver.protocol == Protocol::Tcp
                && local.port() == receiver.port
                && receiver.bind.is_none_or(|bind| {
                    everywhere.contains(&bind) || bind.to_canonical() == local.ip().to_canonical()
                })
        }
    }
}
