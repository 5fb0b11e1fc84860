//! Requests to the kernel by netlink, and its answers.

use std::{io, time::Duration};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;
use thiserror::Error;

/// Longer than any datagram: the kernel builds dumps in pieces of at most 32 KiB.
pub(super) const DATAGRAM: usize = 64 << 10;
/// An answer is there when the request has been sent; without a limit, a kernel that keeps it
/// would stop the daemon.
const PATIENCE: Duration = Duration::from_secs(1);
const KERNEL: u32 = 0;

/// Netlink does not work as it should.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// No socket: a sandbox without `AF_NETLINK`, or too many open files.
    #[error("can't open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// A request could not be sent, or its answer not be received.
    #[error("can't exchange netlink messages with the kernel: {0}")]
    Exchange(#[source] io::Error),
    /// The kernel's answer is an error.
    #[error("the kernel refuses a netlink request: {0}")]
    Refused(#[source] io::Error),
    /// The kernel's answer is not what was asked for, or has a form that is not known here.
    #[error("can't read the kernel's netlink answer: {0}")]
    Answer(#[from] DecodeError),
}

impl NetlinkError {
    /// The error number that the kernel has answered with.
    pub(super) fn refusal(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

/// One request at a time.
///
/// Nothing here waits: the kernel works on a request, and queues its answer, before `send`
/// returns. That is why requests are ordinary calls, which no one can leave half done.
#[derive(Debug)]
pub(super) struct Client {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// The rest of an answer may still be in the socket.
    interrupted: bool,
}

impl Client {
    /// A socket in the calling thread's network namespace.
    pub fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(KERNEL, 0))?;
            SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = open().map_err(NetlinkError::Open)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM), interrupted: false })
    }

    /// Asks for one thing, or orders one. The answer may be empty.
    pub fn ask(
        &mut self,
        message: impl NetlinkSerializable,
        flags: u16,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        self.exchange(message, NLM_F_ACK | flags)
    }

    /// Asks for one thing of which there has to be an answer.
    pub fn ask_one(&mut self, message: impl NetlinkSerializable) -> Result<Vec<u8>, NetlinkError> {
        let answers = self.ask(message, 0)?;
        let none = || DecodeError::from("it is empty");
        Ok(answers.into_iter().next().ok_or_else(none)?)
    }

    /// Asks for everything there is of a kind.
    pub fn dump(
        &mut self,
        message: impl NetlinkSerializable,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        self.exchange(message, NLM_F_DUMP)
    }

    fn exchange(
        &mut self,
        message: impl NetlinkSerializable,
        flags: u16,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        if self.interrupted {
            self.discard();
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.interrupted = true;
        let answers = self.send(message, flags).and_then(|()| self.answers());
        if matches!(answers, Ok(_) | Err(NetlinkError::Refused(_))) {
            self.interrupted = false;
        }
        answers
    }

    fn send(&self, message: impl NetlinkSerializable, flags: u16) -> Result<(), NetlinkError> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut request = vec![0; message.buffer_len()];
        message.serialize(&mut request);
        self.socket.send(&request, 0).map_err(NetlinkError::Exchange)?;
        Ok(())
    }

    fn answers(&mut self) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let mut answers = Vec::new();
        loop {
            self.receive(0).map_err(NetlinkError::Exchange)?;
            for message in messages(&self.buffer) {
                if message.sequence_number() != self.sequence {
                    continue;
                }
                match message.message_type() {
                    // The end of an answer; an error of 0 is an acknowledgement.
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match error_number(message.payload()) {
                            0 => Ok(answers),
                            number => {
                                Err(NetlinkError::Refused(io::Error::from_raw_os_error(number)))
                            }
                        };
                    }
                    NLMSG_NOOP => {}
                    _ => answers.push(message.payload().to_vec()),
                }
            }
        }
    }

    /// Throws away what an earlier request has left. While a dump is not read to its end, the
    /// kernel begins no other.
    fn discard(&mut self) {
        while self.receive(libc::MSG_DONTWAIT).is_ok() {}
    }

    fn receive(&mut self, flags: i32) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, flags | libc::MSG_TRUNC) {
                Ok((_, sender)) if sender.port_number() != KERNEL => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(io::Error::other("an answer is too long"));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = usize::try_from(message.length()).ok()?.next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
        Some(message)
    })
}

/// Error numbers are negative on the wire.
fn error_number(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number)).saturating_neg()
}
