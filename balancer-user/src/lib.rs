//! The daemon `ipfix-balancer`: everything but its command line.

pub mod config;
