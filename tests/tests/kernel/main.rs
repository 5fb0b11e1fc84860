//! The kernel path end to end: what arrives is what arrives through userspace, and it was the
//! programs that forwarded it. Every test looks at that, as one that runs in userspace without
//! anybody noticing says nothing.

mod corpus;
mod cpus;
mod exporters;
mod forwarding;
mod frames;
mod hooks;
mod local;
mod log;
mod mixed;
mod nfcapd;
mod receivers;
mod scene;
mod sizes;
mod templates;
