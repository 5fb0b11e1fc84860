//! Taking bytes from a connection in two steps: what has been seen is the kernel's until it is given
//! up. What a daemon that is killed has not given up the next one sees again.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use rustix::io::ioctl_fionread;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, Interest, ReadBuf},
    net::TcpStream,
};

/// The beginning of a message whose end has not come. It stays in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// How much of it has come.
    pub bytes: usize,
    /// How much has to be there before it is looked at again.
    needs: usize,
}

impl Rest {
    /// What is left when the whole messages have been cut off.
    pub fn of(bytes: &[u8]) -> Rest {
        let length = |&[_, _, high, low]: &[u8; 4]| usize::from(u16::from_be_bytes([high, low]));
        // Before the length is there anything more may show that the framing is lost.
        let needs = bytes.first_chunk().map_or(bytes.len() + 1, length);
        Rest { bytes: bytes.len(), needs }
    }

    /// Whether there is enough to look at it again. It is not copied anew for every few bytes that an
    /// exporter sends.
    pub fn has_grown(&self, stream: &TcpStream) -> bool {
        let there =
            || ioctl_fionread(stream).map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX));
        self.bytes == 0 || there() >= self.needs
    }
}

/// Reads what has come, without taking it; `WouldBlock` where there is nothing.
pub fn see(stream: &TcpStream, into: &mut BytesMut) -> io::Result<usize> {
    let mut peek = Peek(stream);
    let mut reading = pin!(peek.read_buf(into));
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

struct Peek<'a>(&'a TcpStream);

impl AsyncRead for Peek<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_peek(context, buffer).map_ok(drop)
    }
}

/// Has the kernel forget bytes that have been seen. Nothing is copied for that: `room` is named, and not
/// written.
pub fn give_up(stream: &TcpStream, mut bytes: usize, room: &mut Vec<u8>) -> io::Result<()> {
    room.reserve(bytes);
    while bytes > 0 {
        let room = room.spare_capacity_mut().get_mut(..bytes).unwrap_or_default();
        match SockRef::from(stream).recv_with_flags(room, libc::MSG_TRUNC) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(given_up) => bytes = bytes.saturating_sub(given_up),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Only what comes from now on is news. What comes meanwhile is not overlooked: the runtime has not
/// asked for it yet.
pub fn have_seen_all(stream: &TcpStream) {
    let _ = stream
        .try_io(Interest::READABLE, || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock)));
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

    use super::*;
    use crate::{config::Protocol, net::socket::listen};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_seen_is_there_until_it_is_given_up() {
        let (mut client, server) = pair().await;
        client.write_all(b"abcdef").await.unwrap();
        for (taken, expected) in [(0, "abcdef"), (4, "abcdef"), (2, "ef")] {
            server.readable().await.unwrap();
            let mut seen = BytesMut::with_capacity(100);
            assert_eq!(see(&server, &mut seen).unwrap(), expected.len());
            assert_eq!(seen, expected.as_bytes());
            give_up(&server, taken, &mut Vec::new()).unwrap();
        }
        let error = see(&server, &mut BytesMut::with_capacity(100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn what_comes_after_all_was_seen_is_news() {
        let (mut client, server) = pair().await;
        client.write_all(b"ab").await.unwrap();
        server.readable().await.unwrap();
        have_seen_all(&server);
        client.write_all(b"cd").await.unwrap();
        server.readable().await.unwrap();
        let mut seen = BytesMut::with_capacity(100);
        while seen.len() < 4 {
            seen.clear();
            see(&server, &mut seen).unwrap();
        }
        assert_eq!(seen, "abcd".as_bytes());
    }

    /// With the buffer that a connection has otherwise this does not come to an end.
    #[tokio::test]
    async fn halves_of_messages_never_close_the_window() {
        let listening = listen(Protocol::Tcp, Some(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        let listener = TcpListener::from_std(listening.socket.into()).unwrap();
        for length in [1400_u16, 30_000, u16::MAX] {
            let mut client = TcpStream::connect(listening.address).await.unwrap();
            let server = listener.accept().await.unwrap().0;
            let count = (60 << 20) / usize::from(length);
            let sender = tokio::spawn(async move {
                let mut message = vec![0; length.into()];
                message[2..4].copy_from_slice(&length.to_be_bytes());
                for _ in 0..count {
                    client.write_all(&message).await.unwrap();
                }
                client
            });
            assert_eq!(take(&server, length.into(), count).await, count, "of length {length}");
            sender.await.unwrap();
        }
    }

    /// Takes messages of this length; how many have come when no more do.
    async fn take(server: &TcpStream, length: usize, count: usize) -> usize {
        let (mut taken, mut rest) = (0, Rest::default());
        let mut seen = BytesMut::with_capacity(256 << 10);
        while taken < count && timeout(Duration::from_secs(10), server.readable()).await.is_ok() {
            if !rest.has_grown(server) {
                have_seen_all(server);
                continue;
            }
            seen.clear();
            let Ok(came) = see(server, &mut seen) else { continue };
            taken += came / length;
            rest = Rest::of(&seen[came - came % length..]);
            give_up(server, came - came % length, &mut Vec::new()).unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn half_a_message_is_looked_at_when_the_rest_is_there() {
        let (mut client, server) = pair().await;
        client.write_all(&[0, 10, 0, 20, 1]).await.unwrap();
        server.readable().await.unwrap();
        let rest = Rest::of(&[0, 10, 0, 20, 1]);
        assert!(!rest.has_grown(&server));
        client.write_all(&[0; 15]).await.unwrap();
        while !rest.has_grown(&server) {
            tokio::task::yield_now().await;
        }
        assert_eq!(Rest::of(&[0, 10]).needs, 3, "the length is not known yet");
    }
}
