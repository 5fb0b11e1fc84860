//! Whether collectors can read what they got.

use ipfix_balancer_tests::collector::Protocol::Udp;

use super::Account;
use super::excuses::RETURN;
use crate::event::{Kind, Place};
use crate::evidence::Happened;
use crate::wiring::{RECEIVERS, SPARE};

impl Account<'_> {
    /// Nobody got a record that could not be read, but where nobody could know that templates are missing
    /// before the exporter has repeated them.
    pub(super) fn everything_is_decodable(&mut self) {
        for (site, place) in self.places.iter().enumerate() {
            for (domain, before, problem) in &place.undecodable {
                if !(*before && self.is_ignorant(site)) {
                    let fault = format!("site {site}, domain {domain}: {problem}");
                    self.balance.faults.push(fault);
                }
            }
        }
    }

    /// Whether templates may have been sent to a collector over UDP while its host was silent.
    fn is_ignorant(&self, site: usize) -> bool {
        let happened = || self.evidence.happened.iter();
        let killed = Kind::Kill(Place { receiver: self.receiver, site });
        let begins = |one: &&Happened| {
            one.kind == killed || (site == SPARE && one.kind == Kind::Reload(self.receiver))
        };
        // It is not back before its return has been noticed.
        let silent = |begin: &Happened| {
            happened().any(|one| {
                one.kind.silences(site)
                    && one.end() >= begin.begun.0
                    && one.begun.0 <= begin.end() + RETURN
            })
        };
        RECEIVERS[self.receiver].output == Udp && happened().filter(begins).any(silent)
    }
}
