//! Sends IPFIX, and builds it.
//!
//! - [`TcpExporter`], [`UdpExporter`]: one exporter session each;
//! - [`Message`], [`Template`]: any single message, right or wrong;
//! - [`Flows`]: a session's messages with right sequence numbers and records that are all
//!   different, so that one record missing, or there twice, can be told.

mod flows;
mod message;
mod tcp;
mod template;
mod udp;

pub use flows::Flows;
pub use message::Message;
pub use tcp::{Segments, TcpExporter};
pub use template::{Field, Template};
pub use udp::UdpExporter;
