//! Ways in: messages from TCP connections and UDP datagrams, cut and handed to their session.

pub mod frame;
pub mod tcp;
pub mod udp;
