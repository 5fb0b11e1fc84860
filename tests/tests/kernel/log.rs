//! What happens in the kernel, in the log.

use ipfix_balancer_tests::daemon::Mode;
use ipfix_balancer_tests::exporter::Flows;
use ipfix_balancer_tests::lab::{Family, Lab, available};
use ipfix_balancer_tests::poll;

use crate::scene::Scene;

#[test]
fn what_programs_leave_to_userspace_is_told_at_debug_level() {
    if !available() {
        return;
    }
    let lab = Lab::new(1).unwrap();
    let scene = Scene::new(&lab, Mode::RoundRobin, Family::V4).unwrap();
    let daemon = &scene.setup.daemon;
    let mut flows = Flows::new(7);
    let mut stream = scene.stream().unwrap();
    stream.begin(&mut flows).unwrap();
    let told = "FULLFLOW[0]: datagrams were left to userspace: Templates or options templates.";
    assert!(!daemon.log().contains(told));
    assert_eq!(daemon.command(&["log-level", "debug"]).unwrap().code, 0);
    poll::wait("the line", || {
        stream.common(flows.templates()).unwrap();
        daemon.log().contains(told)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}
