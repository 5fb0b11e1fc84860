//! The daemon `ipfix-balancer`: everything but its command line.

pub mod config;
pub mod net;
pub mod session;
