//! Everything the end-to-end tests, `cargo xtask demo` and `cargo xtask bench` share.
//!
//! - [`corpus`]: captured and hand-made IPFIX, with what the balancer must do with each;
//! - [`exporter`]: sends IPFIX over TCP (in any segmentation) and UDP, and builds messages;
//! - [`collector`]: receives it, well-behaved or not, and keeps what every session brought;
//! - [`decode`]: judges what a session brought: records, unknown templates, sequence gaps;
//! - [`documents`]: the commands that README and documents show;
//! - [`dump`]: reads dump files back, and judges what is in them;
//! - [`daemon`]: runs `ipfix-balancer` with a generated configuration;
//! - [`lab`]: network namespaces to run all of these in;
//! - [`setup`]: a daemon with its collectors, for tests;
//! - [`tools`]: runs collectors and decoders of other projects;
//! - [`frame`]: Ethernet frames with UDP, built and taken apart;
//! - [`http`], [`net`], [`pcap`], [`poll`], [`wire`]: a request, free ports, capture files, waiting, byte access.
//!
//! Nothing here sleeps for a fixed time: whoever waits says for what, and until when ([`poll`]).

pub mod collector;
pub mod corpus;
pub mod daemon;
pub mod decode;
pub mod documents;
pub mod dump;
pub mod exporter;
pub mod frame;
pub mod http;
pub mod lab;
pub mod net;
pub mod pcap;
pub mod poll;
pub mod setup;
pub mod tools;
pub mod wire;
