//! Who rotates with whom: a Clickstream receiver with the Fullflow receiver of the same index.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    config::{ReceiverId, Stream},
    record::Beat,
};

/// The beats of all Fullflow receivers, whether they run at present or not.
#[derive(Default)]
pub struct Beats(BTreeMap<ReceiverId, Arc<watch::Sender<Duration>>>);

impl Beats {
    /// The beat of a receiver that is about to be started.
    pub fn of(&mut self, receiver: ReceiverId) -> Beat {
        let leader = ReceiverId { stream: Stream::Fullflow, ..receiver };
        match receiver.stream {
            Stream::Fullflow => Beat { lead: Some(self.leader(leader)), follow: None },
            Stream::Clickstream => {
                Beat { lead: None, follow: Some(self.leader(leader).subscribe()) }
            }
            Stream::Dnsflow | Stream::Natflow | Stream::Gtpflow => Beat::default(),
        }
    }

    fn leader(&mut self, id: ReceiverId) -> Arc<watch::Sender<Duration>> {
        Arc::clone(self.0.entry(id).or_default())
    }
}
