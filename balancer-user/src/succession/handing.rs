//! Handing sockets on to another process, over a unix socket (SCM_RIGHTS).
//!
//! Where no service manager keeps them, the next daemon takes them over from the running one, by its
//! control socket. It has the privileges of whoever has started it, which the old one has given up.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::store::Place;

/// Descriptors of one message; the kernel allows 253.
const BATCH: usize = 250;
/// What goes with each batch, so that a message is not empty: that would be the end.
const MARK: &[u8] = b"#";
/// The longest text in place of sockets.
const MAX_TEXT: usize = 64 << 10;

/// A socket that is left to the next daemon.
#[derive(Debug)]
pub struct Left {
    /// The socket.
    pub socket: OwnedFd,
    /// Its place in the service manager's store, if it has one.
    pub place: Option<Place>,
}

/// What the other side has handed on.
#[derive(Debug)]
pub enum Received {
    /// Sockets.
    Sockets(Vec<OwnedFd>),
    /// It says something instead.
    Text(Vec<u8>),
}

/// Hands sockets on. The end of the stream is the end of them.
pub fn hand_on(to: &UnixStream, sockets: &[Left]) -> io::Result<()> {
    for batch in sockets.chunks(BATCH) {
        let descriptors: Vec<BorrowedFd<'_>> =
            batch.iter().map(|left| left.socket.as_fd()).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(to, &[IoSlice::new(MARK)], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Takes what the other side hands on, to the end of the stream.
pub fn take_over(from: &UnixStream) -> io::Result<Received> {
    let (mut sockets, mut text) = (Vec::new(), Vec::new());
    let mut bytes = [0; 4096];
    loop {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(from, buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if sockets.len() == before {
            text.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
        }
        if received.bytes == 0 || text.len() > MAX_TEXT {
            return Ok(if sockets.is_empty() {
                Received::Text(text)
            } else {
                Received::Sockets(sockets)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::UdpSocket};

    use super::*;

    #[test]
    fn sockets_come_out_as_they_went_in() {
        let sockets: Vec<UdpSocket> =
            (0..BATCH + 3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let left: Vec<Left> = sockets
            .iter()
            .map(|socket| Left { socket: socket.try_clone().unwrap().into(), place: None })
            .collect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        hand_on(&ours, &left).unwrap();
        drop(ours);
        let Received::Sockets(got) = take_over(&theirs).unwrap() else { panic!("no sockets") };
        let address = |socket: &UdpSocket| socket.local_addr().unwrap();
        let got: Vec<_> = got.into_iter().map(|fd| address(&UdpSocket::from(fd))).collect();
        assert_eq!(got, sockets.iter().map(address).collect::<Vec<_>>());
    }

    #[test]
    fn the_other_side_may_refuse() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"no").unwrap();
        drop(ours);
        let Received::Text(text) = take_over(&theirs).unwrap() else { panic!("sockets") };
        assert_eq!(text, b"no");
    }
}
