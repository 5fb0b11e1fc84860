//! Whether a UDP destination is there, as far as anybody can tell.
//!
//! All sessions of a receiver share the answer. A collector's host sends few ICMP errors to one other
//! host (Linux: one a second), and the session that gets one speaks for all; and of the sessions that
//! have something for a destination that is down, one finds out whether it is back.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use tokio::{sync::watch, time::Instant};

/// How long the answer to a datagram to a closed port, or without a route, may take.
pub const REFUSAL: Duration = Duration::from_millis(250);
/// Datagrams that have to go unanswered, one after the other: together for longer than the second in
/// which Linux sends one ICMP error to a host, whatever is wrong there (`net.ipv4.icmp_ratelimit`).
pub const ATTEMPTS: usize = 5;
/// How long the kernel looks for a neighbour before it gives up, and has the datagram wait meanwhile:
/// three requests, a second apart.
pub const NEIGHBOUR: Duration = Duration::from_millis(3500);

/// What is known of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    /// Nobody takes what is sent; the system's number of the error that said so.
    Down(i32),
}

/// A UDP destination, as all sessions of a receiver see it.
#[derive(Debug)]
pub struct Health {
    state: watch::Sender<State>,
    /// Whether a session is finding out whether the destination is back.
    probed: Cell<bool>,
    /// When the destination was last asked whether it is still there (`PROBE_SECONDS`).
    asked: Cell<Instant>,
}

/// The right to find out whether a destination is back: one session has it at a time.
pub struct Probe(Rc<Health>);

impl Default for Health {
    fn default() -> Health {
        Health {
            state: watch::Sender::new(State::There),
            probed: Cell::new(false),
            asked: Cell::new(Instant::now()),
        }
    }
}

impl Health {
    /// Whether nobody takes what is sent there.
    pub fn is_down(&self) -> bool {
        *self.state.borrow() != State::There
    }

    /// Whether it is time to ask whether the destination is still there.
    pub fn is_due(&self, period: Duration) -> bool {
        !self.is_down() && self.asked.get().elapsed() >= period
    }

    /// Takes note that it has been asked.
    pub fn asked(&self) {
        self.asked.set(Instant::now());
    }

    /// Takes note of an error that a socket has got; those that say nothing of the destination are left
    /// to the socket.
    pub fn note(&self, error: &io::Error) {
        let number = error.raw_os_error().unwrap_or(0);
        if is_of_destination(number) {
            self.state.send_replace(State::Down(number));
        }
    }

    /// Comes back with the error once the destination is down.
    pub async fn went_down(&self) -> io::Error {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| *state != State::There).await.as_deref() {
            Ok(State::Down(number)) => io::Error::from_raw_os_error(*number),
            // The sender is ours.
            _ => io::ErrorKind::NotConnected.into(),
        }
    }

    /// Comes back once the destination is there.
    pub async fn came_back(&self) {
        // The sender is ours.
        let _ = self.state.subscribe().wait_for(|state| *state == State::There).await;
    }

    /// The right to find out whether it is back, unless another session has it.
    pub fn probe(self: &Rc<Self>) -> Option<Probe> {
        (!self.probed.replace(true)).then(|| Probe(Rc::clone(self)))
    }
}

impl Probe {
    /// It is back.
    pub fn succeeded(self) {
        self.0.state.send_replace(State::There);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probed.set(false);
    }
}

/// Errors that ICMP, or a neighbour that does not answer, brings to a connected socket.
fn is_of_destination(number: i32) -> bool {
    matches!(
        number,
        libc::EACCES
            | libc::ECONNREFUSED
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ENOPROTOOPT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_error_is_everybodys_and_one_session_finds_out() {
        let health = Rc::new(Health::default());
        health.note(&io::Error::from_raw_os_error(libc::EMSGSIZE));
        assert!(!health.is_down());
        health.note(&io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert!(health.is_down());
        assert_eq!(health.went_down().await.raw_os_error(), Some(libc::ECONNREFUSED));

        let probe = health.probe().unwrap();
        assert!(health.probe().is_none());
        drop(probe);
        health.probe().unwrap().succeeded();
        health.came_back().await;
        assert!(!health.is_down() && health.probe().is_some());
    }
}
