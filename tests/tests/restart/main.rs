//! The daemon is replaced while exporters send: they notice nothing, and nothing is lost.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

mod changed;
mod killed;
mod ordered;
mod scene;
mod state;
