//! Every fault: what the operator reads.

use super::*;

/// Every text has exactly this one fault.
fn check_table(cases: &[(&str, &str)]) {
    for (text, fault) in cases {
        assert_eq!(faults(text), [*fault], "{text}");
    }
}

#[test]
fn keys() {
    check_table(&[
        (
            "IPFIX_FULLFLOW_BALANCR[0]=All",
            "1: IPFIX_FULLFLOW_BALANCR[0]=All: unknown parameter; \
             did you mean IPFIX_FULLFLOW_BALANCER[0]?",
        ),
        (
            "IPFIX_FULLFLOW_BALANCER_TASK_SET=1",
            "1: IPFIX_FULLFLOW_BALANCER_TASK_SET=1: unknown parameter; \
             did you mean IPFIX_FULLFLOW_BALANCER_TASKSET[0]?",
        ),
        (
            "\n\nIPFIX_CLIKSTREAM_PORT[12]=5",
            "3: IPFIX_CLIKSTREAM_PORT[12]=5: unknown parameter; \
             did you mean IPFIX_CLICKSTREAM_PORT[12]?",
        ),
        (
            "IPFIX_DNS_PORT[1]=5",
            "1: IPFIX_DNS_PORT[1]=5: unknown parameter; did you mean IPFIX_DNSFLOW_PORT[1]?",
        ),
        (
            "IPFIX_UI_LISTN=::",
            "1: IPFIX_UI_LISTN=::: unknown parameter; did you mean IPFIX_UI_LISTEN?",
        ),
        (
            "IPFIX_UI_LISTEN[0]=::",
            "1: IPFIX_UI_LISTEN[0]=::: unknown parameter; did you mean IPFIX_UI_LISTEN?",
        ),
        (
            "IPFIX_FULLFLOW_PORT[0=1",
            "1: IPFIX_FULLFLOW_PORT[0=1: unknown parameter; did you mean IPFIX_FULLFLOW_PORT[0]?",
        ),
        ("IPFIX_FULLFLOW_COLOUR[0]=red", "1: IPFIX_FULLFLOW_COLOUR[0]=red: unknown parameter"),
        ("IPFIX_=", "1: IPFIX_: unknown parameter"),
        ("IPFIX_FULLFLOW_PORT[x]=1", "1: IPFIX_FULLFLOW_PORT[x]=1: bad index; allowed: 0 to 999"),
        ("IPFIX_FULLFLOW_PORT[]=1", "1: IPFIX_FULLFLOW_PORT[]=1: bad index; allowed: 0 to 999"),
        ("IPFIX_FULLFLOW_PORT[-1]=1", "1: IPFIX_FULLFLOW_PORT[-1]=1: bad index; allowed: 0 to 999"),
        (
            "IPFIX_FULLFLOW_PORT[1000]=1",
            "1: IPFIX_FULLFLOW_PORT[1000]=1: bad index; allowed: 0 to 999",
        ),
        ("export IPFIX_FULLFLOW_PORT[0]", "1: IPFIX_FULLFLOW_PORT[0]: no = after the key"),
        ("IPFIX_FULLFLOW_PORT[0]: 1500", "1: IPFIX_FULLFLOW_PORT[0]: 1500: no = after the key"),
    ]);
}

#[test]
fn same_key_twice() {
    for (first, second) in [
        ("PORT[0]=1600", "PORT[0]=1600"),
        ("PORT[0]=1600", "PORT=1601"),
        ("PORT=1600", "PORT[00]=1601"),
        ("TASKSET[0]=1", "BALANCER_TASKSET[0]=2"),
        ("EXPORT=0", "DUMP_INSERT_PROCESSES[0]=h/1/tcp"),
    ] {
        let text = format!("IPFIX_FULLFLOW_{first}\nexport IPFIX_FULLFLOW_{second}\n");
        let expected = format!("2: IPFIX_FULLFLOW_{second}: the same key twice, first in line 1");
        assert_eq!(faults(&text), [expected]);
    }
    let text = "IPFIX_UI_LISTEN=off\nIPFIX_UI_LISTEN=off";
    assert_eq!(faults(text), ["2: IPFIX_UI_LISTEN=off: the same key twice, first in line 1"]);
}

/// Parameters of `IPFIX_FULLFLOW_`, and what is said about the value.
#[test]
fn values() {
    for (given, fault) in [
        ("PORT[0]=", "the value is missing; allowed: 1 to 65535"),
        ("PORT[0]=x", "not a number; allowed: 1 to 65535"),
        ("PORT[0]=1_000", "not a number; allowed: 1 to 65535"),
        ("PORT[0]=1500.0", "not a number; allowed: 1 to 65535"),
        ("PORT[0]=-", "not a number; allowed: 1 to 65535"),
        ("PORT[0]=0", "out of range; allowed: 1 to 65535"),
        ("PORT[0]=-1", "out of range; allowed: 1 to 65535"),
        ("PORT[0]=65536", "out of range; allowed: 1 to 65535"),
        ("PORT[0]=99999999999999999999999", "out of range; allowed: 1 to 65535"),
        ("PORT_TYPE[0]=tpc", "unknown value; allowed: tcp, udp; did you mean tcp?"),
        (
            "BALANCER[0]=RoundRobbin",
            "unknown value; allowed: Disabled, RoundRobin, All; did you mean RoundRobin?",
        ),
        ("BALANCER[0]=yes", "unknown value; allowed: Disabled, RoundRobin, All"),
        ("BALANCER_SUB_PROTO=", "the value is missing; allowed: tcp, udp"),
        ("BALANCER_AUTO=maybe", "unknown value; allowed: Enabled, Disabled, on, off"),
        ("ROTATE_MINUTES=1.5", "not a number; allowed: 0 to 525600 whole minutes"),
        ("ROTATE_DELAY_SECONDS=-1", "out of range; allowed: 0 to 31536000 whole seconds"),
        ("FW_MAX_QUEUE_SIZE=10k", "not a number; allowed: 0 to 1000000000000 records"),
        ("DPI_ID=-2", "out of range; allowed: -1 to 4294967295"),
        ("TEMPLATE_SECONDS=0", "out of range; allowed: 1 to 86400 seconds"),
        ("TEMPLATE_MESSAGES=1000001", "out of range; allowed: 1 to 1000000 messages"),
        ("RECONNECT_SECONDS=0", "out of range; allowed: 1 to 3600 seconds"),
        ("SPOOL_MAX_MB=0", "out of range; allowed: 1 to 16777216 MB"),
        ("SPOOL_DIR=spool", "bad value: not an absolute path; allowed: an absolute path"),
        ("DUMP_DIR=", "the value is missing; allowed: an absolute path"),
        ("BIND=eth0", "bad value: not an IP address; allowed: an IPv4 or IPv6 address"),
        ("PORT='1500", "the quote is never closed"),
        ("PORT=\"1500\" tcp", "text after the closing quote"),
        ("ROTATE_COMMAND=\"\\d\"", "bad escape sequence in a quoted value"),
    ] {
        let shown = given.strip_suffix('=').unwrap_or(given);
        let expected = format!("1: IPFIX_FULLFLOW_{shown}: {fault}");
        assert_eq!(faults(&format!("IPFIX_FULLFLOW_{given}")), [expected]);
    }
    check_table(&[(
        "IPFIX_METRICS_LISTEN=9100",
        "1: IPFIX_METRICS_LISTEN=9100: bad value: not an address and port; \
         allowed: address:port, or off",
    )]);
}

/// Values of list parameters: the offending element, and what is said about it.
#[test]
fn list_elements() {
    for (given, name, element, fault) in [
        ("TASKSET=1,x", "TASKSET", "x", "not a CPU or a range"),
        ("TASKSET=3-1", "TASKSET", "3-1", "not a CPU or a range"),
        ("TASKSET=0-3:0", "TASKSET", "0-3:0", "not a CPU or a range"),
        ("TASKSET=0-99999999999", "TASKSET", "0-99999999999", "not a CPU or a range"),
        ("ALLOW_FROM=10.0.0.0/33", "ALLOW_FROM", "10.0.0.0/33", "not a network"),
        ("EXPORT=h/1", "EXPORT", "h/1", "the protocol is missing"),
        ("EXPORT=h/1/sctp", "EXPORT", "h/1/sctp", "the protocol is neither tcp nor udp"),
        ("EXPORT=h", "EXPORT", "h", "not ip/port/proto"),
        ("BALANCER_SUB=10.0.0.1:5", "BALANCER_SUB", "10.0.0.1:5", "not ip/port"),
        ("BALANCER_SUB=a/1;b/2", "BALANCER_SUB", "a/1;b/2", "not ip/port"),
        ("BALANCER_SUB=10.0.0.300/5", "BALANCER_SUB", "10.0.0.300/5", "not an IP address"),
        ("BALANCER_SUB=[10.0.0.3]/5", "BALANCER_SUB", "[10.0.0.3]/5", "not an IP address"),
        ("BALANCER_SUB=a_ b/5", "BALANCER_SUB", "a_ b/5", "not an IP address"),
        ("BALANCER_SUB=/5", "BALANCER_SUB", "/5", "not an IP address"),
        ("BALANCER_SUB=h/", "BALANCER_SUB", "h/", "the port is not a number"),
        ("BALANCER_SUB=h/0", "BALANCER_SUB", "h/0", "the port is not in 1 to 65535"),
        ("BALANCER_SUB=h/65536", "BALANCER_SUB", "h/65536", "the port is not in 1 to 65535"),
        ("BALANCER_SUB=h/5/tcp", "BALANCER_SUB", "h/5/tcp", "the protocol goes into"),
        ("BALANCER_SUB=h/5,", "BALANCER_SUB", "h/5,", "it is empty"),
    ] {
        let faults = faults(&format!("IPFIX_FULLFLOW_{given}"));
        let expected = format!("1: IPFIX_FULLFLOW_{name}={element}: bad list element: {fault}");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(&expected), "{faults:?}\n{expected}");
    }
    let colon = &faults("IPFIX_FULLFLOW_BALANCER_SUB=[::1]:5")[0];
    assert!(colon.ends_with("; did you mean [::1]/5?"), "{colon}");
}

/// What can't be read brings no second fault about what it would have said.
#[test]
fn one_fault_for_one_mistake() {
    check_table(&[
        ("IPFIX_DNSFLOW_PORT=\"1", "1: IPFIX_DNSFLOW_PORT=\"1: the quote is never closed"),
        ("IPFIX_DNSFLOW_PORT\nIPFIX_DNSFLOW_DPI_ID=1", "1: IPFIX_DNSFLOW_PORT: no = after the key"),
        (
            "IPFIX_FULLFLOW_PORT='1\nIPFIX_FULLFLOW_PORT[1]=1500",
            "1: IPFIX_FULLFLOW_PORT='1: the quote is never closed",
        ),
        (
            "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=\"h/1",
            "2: IPFIX_FULLFLOW_BALANCER_SUB=\"h/1: the quote is never closed",
        ),
    ]);
}

#[test]
fn destinations() {
    let sub = |list: &str| {
        format!("IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB[0]={list}\n")
    };
    for list in ["h/1,10.0.0.1/1,H./01", "::1/1,10.0.0.1/1,[0:0::1]/1"] {
        let faults = faults(&sub(list));
        assert!(
            faults.len() == 1 && faults[0].contains("/1: the same destination twice"),
            "{faults:?}"
        );
    }
    let many: Vec<String> = (1..=65).map(|i| format!("10.0.1.{i}/1")).collect();
    assert_eq!(receiver(&sub(&many[..64].join(","))).destinations.len(), MAX_DESTINATIONS);
    let faults = faults(&sub(&many.join(",")));
    assert!(faults[0].contains(": 65 destinations are too many; allowed: "), "{faults:?}");
}

#[test]
fn the_dump_file_takes_the_place_of_one_copy() {
    let copies: Vec<String> = (1..=64).map(|i| format!("10.0.1.{i}/1/tcp")).collect();
    let text = |copies: &[String]| format!("IPFIX_FULLFLOW_EXPORT[0]={}", copies.join(","));
    assert_eq!(receiver(&text(&copies[..63])).record.copies.len(), MAX_COPIES);
    assert!(faults(&text(&copies))[0].contains(": 64 destinations are too many"));
}

#[test]
fn required_parameters() {
    check_table(&[
        (
            "\nIPFIX_DNSFLOW_PORT_TYPE[2]=udp",
            "2: IPFIX_DNSFLOW_PORT[2]: must be given, there is no default; allowed: 1 to 65535",
        ),
        (
            "IPFIX_FULLFLOW_PORT=1\nIPFIX_FULLFLOW_BALANCER=all",
            "2: IPFIX_FULLFLOW_BALANCER=all: no subreceiver to balance to; \
             allowed: BALANCER_SUB with one subreceiver or more",
        ),
        (
            "IPFIX_FULLFLOW_BALANCER_SUB[0]=\nIPFIX_FULLFLOW_BALANCER=RoundRobin",
            "1: IPFIX_FULLFLOW_BALANCER_SUB[0]: no subreceiver to balance to; \
             allowed: BALANCER_SUB with one subreceiver or more",
        ),
    ]);
}

#[test]
fn control_characters_and_long_texts_are_not_printed() {
    let text = format!("IPFIX_FULLFLOW_PORT=\u{1b}[2J{}", "x".repeat(1000));
    let fault = &faults(&text)[0];
    assert!(fault.contains("\\u{1b}[2Jxx") && fault.contains("xx...: "), "{fault}");
    assert!(fault.len() < 250);
}
