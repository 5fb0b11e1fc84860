//! The web interface: in a real browser, and by its API.
//!
//! Pictures of the pages are left in `target/ui/`.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

mod api;
mod browser;
mod configuring;
mod fuzz;
mod logs;
mod remote;
mod scene;
mod signing_in;
mod watching;
