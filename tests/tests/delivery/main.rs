//! SPEC section 4 over TCP: what a collector had not acknowledged when it failed is sent again.

#![expect(clippy::indexing_slicing, reason = "what is not as expected fails the test")]

mod handed_on;
mod killed;
mod probed;
mod scene;
mod silent;
mod stalled;
