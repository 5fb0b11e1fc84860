//! What the balancer knows of one exporter session (RFC 7011: one TCP connection, or one UDP source
//! address and port), and where its messages go. No input or output happens here: [`Router`] turns
//! a message into [`Delivery`]s.

mod compose;
mod details;
mod domain;
mod flows;
mod options;
mod router;
#[cfg(test)]
mod router_tests;
mod split;
mod templates;

pub use details::SessionDetails;
pub use domain::Before;
pub use router::{Delivery, Numbers, Outlook, Payload, Refusal, Router, Saved, Shape, Steering};
pub use templates::Templates;

/// Set of destinations: bit `n` stands for the `n`-th of the receiver's list.
pub type Targets = u64;

/// The set of the first `count` destinations.
pub fn all_targets(count: usize) -> Targets {
    u32::try_from(count)
        .ok()
        .and_then(|count| Targets::MAX.checked_shl(count))
        .map_or(Targets::MAX, |high| !high)
}

/// The numbers of the destinations in a set, lowest first.
pub fn each_target(mut targets: Targets) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (targets != 0).then(|| targets.trailing_zeros())?;
        targets &= targets - 1;
        usize::try_from(lowest).ok()
    })
}

/// The set of one destination.
pub fn bit(target: usize) -> Targets {
    u32::try_from(target).ok().and_then(|target| 1_u64.checked_shl(target)).unwrap_or(0)
}

/// Bytes of templates kept of one session. All 65,280 possible ids fit with a few fields each.
pub const MAX_TEMPLATE_BYTES: usize = 8 << 20;
/// Bytes of options records kept of one session, for destinations that connect later.
pub const MAX_OPTIONS_BYTES: usize = 2 << 20;
/// Observation domains kept of one session.
pub const MAX_DOMAINS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_destinations() {
        assert_eq!(all_targets(0), 0);
        assert_eq!(all_targets(3), 0b111);
        assert_eq!(all_targets(64), Targets::MAX);
        assert_eq!(each_target(0b1010).collect::<Vec<_>>(), [1, 3]);
    }
}
