//! The control socket: what is no request is refused, and what is one means the same written again.
//! Input: what a client sends.

use balancer_user::daemon::Request;

/// Runs one input.
pub fn run(input: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Request>(input) else { return };
    let again = serde_json::to_vec(&request).expect("a request can be written");
    assert_eq!(serde_json::from_slice::<Request>(&again).expect("and read"), request);
}
