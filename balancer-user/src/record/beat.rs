//! Rotating with another receiver.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

/// Whose rotation a receiver takes part in.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// Others follow this one: they are told when each of its intervals begins.
    pub lead: Option<Arc<watch::Sender<Duration>>>,
    /// This one rotates when its leader does, and by itself when that is silent.
    pub follow: Option<watch::Receiver<Duration>>,
}

/// Waits for the next rotation of the leader, if there is one; its time.
pub async fn led(leader: &mut Option<watch::Receiver<Duration>>) -> Duration {
    if let Some(leader) = leader
        && leader.changed().await.is_ok()
    {
        return *leader.borrow_and_update();
    }
    std::future::pending().await
}
