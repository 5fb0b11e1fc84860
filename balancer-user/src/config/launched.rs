//! `BALANCER_AUTO`: the subreceivers on this machine that a receiver launches.

use std::sync::Arc;

use super::{Accel, Destination, Environment, Mode, Receiver, ReceiverId, Record, loops};

/// Recording receivers for the subreceivers that are on this machine, with the settings of the
/// receiver that launches them. Where something of the file listens already nothing is launched.
pub(super) fn launched(
    configured: &[Arc<Receiver>],
    environment: &Environment,
) -> Vec<Arc<Receiver>> {
    let mut launched: Vec<Arc<Receiver>> = Vec::new();
    for parent in configured.iter().filter(|receiver| receiver.auto) {
        for (place, destination) in (0..).zip(&parent.destinations) {
            let served =
                |receiver: &Arc<Receiver>| loops::listens_at(receiver, destination, environment);
            if !configured.iter().chain(&launched).any(served)
                && let Some(receiver) = subreceiver(parent, place, destination, environment)
            {
                launched.push(Arc::new(receiver));
            }
        }
    }
    launched
}

fn subreceiver(
    parent: &Receiver,
    place: u32,
    destination: &Destination,
    environment: &Environment,
) -> Option<Receiver> {
    let address = loops::addresses(&destination.host, environment).into_iter().next()?;
    let dpi_id = match parent.record.dpi_id {
        -1 => place.into(),
        given => given,
    };
    Some(Receiver {
        id: ReceiverId { subreceiver: Some(place), ..parent.id },
        protocol: destination.protocol,
        port: destination.port,
        bind: Some(address),
        mode: Mode::Disabled,
        destinations: Vec::new(),
        auto: false,
        cpus: Vec::new(),
        accel: Accel::Auto,
        allow_from: Vec::new(),
        record: Record { dpi_id, ..parent.record.clone() },
        ..parent.clone()
    })
}
