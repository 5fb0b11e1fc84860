//! `BALANCER_AUTO`: which subreceivers are launched, and as what.

use super::*;

/// The subreceivers that a text launches.
fn launched(text: &str) -> Vec<Receiver> {
    let checked = parse(text).unwrap_or_else(|faults| panic!("{faults}\n\nin\n{text}"));
    checked.config.launched.iter().map(|receiver| Receiver::clone(receiver)).collect()
}

const PARENT: &str = "IPFIX_FULLFLOW_PORT[3]=1500\nIPFIX_FULLFLOW_BALANCER[3]=RoundRobin\n\
    IPFIX_FULLFLOW_BALANCER_AUTO[3]=Enabled\nIPFIX_FULLFLOW_BALANCER_SUB_PROTO[3]=udp\n\
    IPFIX_FULLFLOW_BALANCER_SUB[3]=10.19.3.20/1600, 10.19.3.21/1600, [2001:db8::20]/1601, localhost/1602\n";

#[test]
fn those_on_this_machine_record_by_their_launchers_settings() {
    let text = format!("{PARENT}IPFIX_FULLFLOW_ROTATE_MINUTES[3]=5\nIPFIX_FULLFLOW_TASKSET[3]=2");
    let launched = launched(&text);
    let places: Vec<_> = launched.iter().map(|r| (r.id.to_string(), r.record.dpi_id)).collect();
    let place = |name: &str, dpi_id| (name.to_owned(), dpi_id);
    let expected =
        [place("FULLFLOW[3].0", 0), place("FULLFLOW[3].2", 2), place("FULLFLOW[3].3", 3)];
    assert_eq!(places, expected);
    let ends: Vec<_> = launched.iter().map(|r| (r.bind.unwrap().to_string(), r.port)).collect();
    let end = |ip: &str, port| (ip.to_owned(), port);
    assert_eq!(ends, [end("10.19.3.20", 1600), end("2001:db8::20", 1601), end("127.0.0.1", 1602)]);
    for receiver in &launched {
        assert_eq!((receiver.mode, receiver.protocol), (Mode::Disabled, Protocol::Udp));
        assert_eq!((receiver.record.rotate_minutes, receiver.auto), (5, false));
        assert_eq!((&receiver.destinations, &receiver.cpus), (&vec![], &vec![]));
    }
    assert_eq!(launched[0].id.thread_name(), "ipfix-full-3.0");
}

#[test]
fn a_number_that_is_given_is_that_of_all() {
    let launched = launched(&format!("{PARENT}IPFIX_FULLFLOW_DPI_ID[3]=9"));
    assert!(launched.iter().all(|receiver| receiver.record.dpi_id == 9));
}

#[test]
fn where_something_listens_already_nothing_is_launched() {
    let text = format!(
        "{PARENT}IPFIX_DNSFLOW_PORT=1600\nIPFIX_DNSFLOW_PORT_TYPE=udp\n\
         IPFIX_DNSFLOW_BIND=10.19.3.20\n\
         IPFIX_CLICKSTREAM_BALANCER=All\nIPFIX_CLICKSTREAM_BALANCER_AUTO=on\n\
         IPFIX_CLICKSTREAM_BALANCER_SUB_PROTO=udp\nIPFIX_CLICKSTREAM_BALANCER_SUB=localhost/1602\n\
         IPFIX_CLICKSTREAM_PORT=1700"
    );
    let names: Vec<_> = launched(&text).iter().map(|r| r.id.to_string()).collect();
    // Those of the file come first: the Fullflow receiver is before the Clickstream one.
    assert_eq!(names, ["FULLFLOW[3].2", "FULLFLOW[3].3"]);
    assert!(launched(&PARENT.replace("Enabled", "Disabled")).is_empty());
}

#[test]
fn what_is_launched_must_not_send_back() {
    let text = format!("{PARENT}IPFIX_FULLFLOW_EXPORT[3]=127.0.0.1/1500/tcp");
    let faults = faults(&text);
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains("DUMP_INSERT_PROCESSES") || faults[0].contains("EXPORT"),
        "{faults:?}"
    );
}
