//! Faults that take more than one value, or the machine, to see.

use super::*;

#[test]
fn port_twice() {
    for (text, fault) in [
        (
            "IPFIX_FULLFLOW_PORT[0]=1600\nIPFIX_CLICKSTREAM_PORT[3]=1600",
            "2: IPFIX_CLICKSTREAM_PORT[3]=1600: \
             port twice: 1600/tcp is already taken by IPFIX_FULLFLOW_PORT[0], line 1",
        ),
        (
            "IPFIX_CLICKSTREAM_PORT[3]=1600\n\nIPFIX_FULLFLOW_PORT=1600",
            "3: IPFIX_FULLFLOW_PORT=1600: \
             port twice: 1600/tcp is already taken by IPFIX_CLICKSTREAM_PORT[3], line 1",
        ),
        // Addresses make no difference, defaults neither.
        (
            "IPFIX_FULLFLOW_BIND[0]=127.0.0.1\nIPFIX_FULLFLOW_BIND[1]=10.19.3.20",
            "2: IPFIX_FULLFLOW_PORT[1]: \
             port twice: 1500/tcp is already taken by IPFIX_FULLFLOW_PORT[0], line 1",
        ),
        (
            "IPFIX_UI_LISTEN=127.0.0.1:1500\nIPFIX_FULLFLOW_PORT=1500",
            "2: IPFIX_FULLFLOW_PORT=1500: \
             port twice: 1500/tcp is already taken by IPFIX_UI_LISTEN, line 1",
        ),
    ] {
        assert_eq!(faults(text), [fault], "{text}");
    }
    for text in [
        "IPFIX_FULLFLOW_PORT[0]=1600\nIPFIX_FULLFLOW_PORT[1]=1600\nIPFIX_FULLFLOW_PORT_TYPE[1]=udp",
        "IPFIX_FULLFLOW_PORT_TYPE=udp\nIPFIX_UI_LISTEN=127.0.0.1:1500",
    ] {
        assert!(!receivers(text).is_empty());
    }
    // A faulty port is reported as such only.
    assert_eq!(faults("IPFIX_FULLFLOW_PORT[0]=x\nIPFIX_FULLFLOW_PORT[1]=1500").len(), 1);
}

#[test]
fn missing_cpus() {
    assert_eq!(
        faults("IPFIX_FULLFLOW_TASKSET=3,64-66\nIPFIX_GTPFLOW_TASKSET=70,x"),
        [
            "1: IPFIX_FULLFLOW_TASKSET=3,64-66: \
             CPUs 64-66 do not exist on this machine; allowed: CPUs 0-63",
            "2: IPFIX_GTPFLOW_TASKSET=x: bad list element: not a CPU or a range; \
             allowed: CPUs as for taskset -c, such as 61 or 2,3 or 4-7",
            "2: IPFIX_GTPFLOW_TASKSET=70,x: \
             CPU 70 does not exist on this machine; allowed: CPUs 0-63",
        ]
    );
    let unknown = Environment { cpus: vec![], ..machine() };
    assert!(Config::parse(Path::new(".env"), "IPFIX_FULLFLOW_TASKSET=64", &unknown).is_ok());
}

#[test]
fn clickstream_follows_fullflow() {
    assert_eq!(
        faults("IPFIX_FULLFLOW_ROTATE_MINUTES[1]=20\nIPFIX_CLICKSTREAM_ROTATE_MINUTES[1]=5"),
        ["2: IPFIX_CLICKSTREAM_ROTATE_MINUTES[1]=5: rotation shorter than that of FULLFLOW[1] \
          (line 1): 300 s, there 1200 s; allowed: 1200 s or more"]
    );
    assert_eq!(
        faults("IPFIX_CLICKSTREAM_ROTATE_DELAY_SECONDS=599\n\nIPFIX_FULLFLOW_PORT=1"),
        ["1: IPFIX_CLICKSTREAM_ROTATE_DELAY_SECONDS=599: rotation shorter than that of \
          FULLFLOW[0] (line 3): 599 s, there 600 s; allowed: 600 s or more"]
    );
    // Its default may be too short as well.
    assert_eq!(
        faults("IPFIX_CLICKSTREAM_PORT=1\nIPFIX_FULLFLOW_ROTATE_MINUTES=15"),
        ["1: IPFIX_CLICKSTREAM_ROTATE_MINUTES[0]: rotation shorter than that of FULLFLOW[0] \
          (line 2): 720 s, there 900 s; allowed: 900 s or more"]
    );
    for text in [
        "IPFIX_FULLFLOW_ROTATE_MINUTES=5\nIPFIX_CLICKSTREAM_ROTATE_MINUTES=5",
        "IPFIX_FULLFLOW_ROTATE_MINUTES=5\nIPFIX_CLICKSTREAM_ROTATE_MINUTES=0",
        "IPFIX_FULLFLOW_ROTATE_MINUTES=0\nIPFIX_CLICKSTREAM_ROTATE_MINUTES=5",
        "IPFIX_FULLFLOW_ROTATE_MINUTES[0]=15\nIPFIX_CLICKSTREAM_ROTATE_MINUTES[1]=5",
        "IPFIX_FULLFLOW_ROTATE_MINUTES=15\nIPFIX_CLICKSTREAM_ROTATE_MINUTES=5\n\
         IPFIX_CLICKSTREAM_BALANCER=All\nIPFIX_CLICKSTREAM_BALANCER_SUB=h/1",
    ] {
        assert_eq!(receivers(text).len(), 2);
    }
}

#[test]
fn kernel_path_is_for_udp() {
    let text = "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=h/1\n\
                IPFIX_FULLFLOW_ACCEL=require\n";
    assert_eq!(
        faults(text),
        [
            "3: IPFIX_FULLFLOW_ACCEL=require: the kernel path needs UDP input and output, \
             here the input is TCP; allowed: PORT_TYPE=udp, or ACCEL=auto",
            "3: IPFIX_FULLFLOW_ACCEL=require: the kernel path needs UDP input and output, \
             here the output is TCP; allowed: BALANCER_SUB_PROTO=udp, or ACCEL=auto",
        ]
    );
}

/// A receiver on port 1500 with these lines, and whether it sends to itself.
#[test]
fn loop_to_itself() {
    for (lines, loops) in [
        ("BALANCER_SUB=127.0.0.1/1500", true),
        ("BALANCER_SUB=127.9.9.9/1500", true),
        ("BALANCER_SUB=[::1]/1500", true),
        ("BALANCER_SUB=::ffff:127.0.0.1/1500", true),
        ("BALANCER_SUB=0.0.0.0/1500", true),
        ("BALANCER_SUB=10.19.3.20/1500", true),
        ("BALANCER_SUB=2001:db8::20/1500", true),
        ("BALANCER_SUB=LocalHost./1500", true),
        ("BALANCER_SUB=x.localhost/1500", true),
        ("BALANCER_SUB=balancer.example.NET/1500", true),
        ("BALANCER_SUB=h/1500, localhost/1500", true),
        ("BALANCER_SUB=127.0.0.1/1501", false),
        ("BALANCER_SUB=127.0.0.1/1500\nBALANCER_SUB_PROTO=udp", false),
        ("BALANCER_SUB=127.0.0.1/1500\nBALANCER_SUB_PROTO=udp\nPORT_TYPE=udp", true),
        ("BALANCER_SUB=10.19.3.21/1500", false),
        ("BALANCER_SUB=other.example.net/1500", false),
        ("BIND=10.19.3.20\nBALANCER_SUB=127.0.0.1/1500", false),
        ("BIND=10.19.3.20\nBALANCER_SUB=10.19.3.20/1500", true),
        ("BIND=10.19.3.20\nBALANCER_SUB=balancer.example.net/1500", true),
        ("BIND=127.0.0.1\nBALANCER_SUB=10.19.3.20/1500", false),
        ("BIND=127.0.0.1\nBALANCER_SUB=localhost/1500", true),
        ("BIND=0.0.0.0\nBALANCER_SUB=[::1]/1500", false),
        ("BIND=0.0.0.0\nBALANCER_SUB=10.19.3.20/1500", true),
        ("BIND=::\nBALANCER_SUB=10.19.3.20/1500", true),
    ] {
        let keys = lines.lines().map(|line| format!("IPFIX_FULLFLOW_{line}\n"));
        let text = keys.collect::<String>() + "IPFIX_FULLFLOW_BALANCER=RoundRobin";
        let faults = parse(&text).map_or_else(|faults| faults.faults, |_| Vec::new());
        let reasons: Vec<_> = faults.into_iter().map(|fault| fault.reason).collect();
        assert_eq!(reasons, if loops { vec![Reason::Loop(None)] } else { vec![] }, "{text}");
    }
    assert_eq!(
        faults("IPFIX_FULLFLOW_EXPORT=[::1]/1500/tcp"),
        ["1: IPFIX_FULLFLOW_EXPORT=[::1]/1500: a loop: the destination is this receiver itself"]
    );
}

#[test]
fn loop_through_others() {
    let chain = "IPFIX_FULLFLOW_BALANCER[0]=All\nIPFIX_FULLFLOW_BALANCER_SUB[0]=127.0.0.1/1501\n\
                 IPFIX_FULLFLOW_PORT[1]=1501\nIPFIX_FULLFLOW_EXPORT[1]=127.0.0.1/1502/tcp\n\
                 IPFIX_FULLFLOW_PORT[2]=1502\n";
    assert_eq!(receivers(chain).len(), 3);
    let ring = format!("{chain}IPFIX_FULLFLOW_EXPORT[2]=h/1/tcp, localhost/1500/tcp");
    assert_eq!(
        faults(&ring),
        [
            "2: IPFIX_FULLFLOW_BALANCER_SUB[0]=127.0.0.1/1501: a loop: the destination leads \
             back to this receiver through FULLFLOW[1]",
            "4: IPFIX_FULLFLOW_EXPORT[1]=127.0.0.1/1502: a loop: the destination leads back to \
             this receiver through FULLFLOW[2]",
            "6: IPFIX_FULLFLOW_EXPORT[2]=localhost/1500: a loop: the destination leads back to \
             this receiver through FULLFLOW[0]",
        ]
    );
}

#[test]
fn everything_at_once() {
    let text = "IPFIX_FULLFLOW_PORT[0]=99999\nIPFIX_FULLFLOW_BALANCER_SUB[0]=a:1, b/x\n\
                IPFIX_CLICKSTREAM_PORT=1\nIPFIX_DNSFLOW_PORT=1\nIPFIX_DNSFLOW_BALANCER=Al\n\
                IPFIX_GTPFLOW_BALANCER=All\n\
                IPFIX_GTPFLOW_BALANCER_SUB=c/x,localhost/1502,d/1,d/1\n\
                IPFIX_TYPO=1\nIPFIX_CLICKSTREAM_PORT[0]=2\n";
    let faults = faults(text);
    let lines: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(lines, ["1", "2", "2", "4", "5", "7", "7", "7", "8", "9"], "{faults:#?}");
}
