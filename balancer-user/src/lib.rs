//! The daemon `ipfix-balancer`: everything but its command line.
//!
//! Data flows one way: [`input`] receives and cuts, [`session`] routes, [`output`] queues and
//! sends, [`record`] writes dump files. A [`handler`] thread does this for one receiver.

pub mod advice;
pub mod command;
pub mod config;
pub mod daemon;
#[cfg(test)]
mod docs_tests;
pub mod doctor;
pub mod handler;
pub mod http;
pub mod import;
pub mod input;
pub mod inspect;
#[cfg_attr(not(feature = "kernel"), path = "kernel_off.rs")]
pub mod kernel;
pub mod log;
pub mod manage;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod output;
pub mod rate_limit;
pub mod record;
#[cfg(feature = "kernel")]
pub mod route;
pub mod session;
pub mod spool;
pub mod stats;
pub mod succession;
pub mod ui;
pub mod watchdog;
