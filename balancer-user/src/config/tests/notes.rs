//! What is allowed, but worth saying.

use super::*;

/// Texts, and the notes about them.
#[test]
fn notes_name_line_and_key() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[" no receiver: no key of a stream in the file"]),
        (
            "IPFIX_FULLFLOW_DUMP_INSERT_PROCESSES[0]=0",
            &["1: IPFIX_FULLFLOW_DUMP_INSERT_PROCESSES[0]: a bare number means no destination"],
        ),
        (
            "IPFIX_FULLFLOW_EXPORT[0]=4",
            &["1: IPFIX_FULLFLOW_EXPORT[0]: a bare number means no destination"],
        ),
        (
            "IPFIX_FULLFLOW_BALANCER_SUB=h/1\nIPFIX_FULLFLOW_ACCEL=require",
            &[
                "1: IPFIX_FULLFLOW_BALANCER_SUB: no effect with BALANCER=Disabled",
                "2: IPFIX_FULLFLOW_ACCEL: no effect with BALANCER=Disabled",
            ],
        ),
        (
            "IPFIX_FULLFLOW_ROTATE_MINUTES=5\nIPFIX_FULLFLOW_BALANCER=All\n\
             IPFIX_FULLFLOW_BALANCER_SUB=h/1\nIPFIX_FULLFLOW_TEMPLATE_SECONDS=9",
            &[
                "1: IPFIX_FULLFLOW_ROTATE_MINUTES: \
                 no effect: only a recording receiver (BALANCER=Disabled) uses it",
                "4: IPFIX_FULLFLOW_TEMPLATE_SECONDS: \
                 no effect: only UDP destinations of a TCP receiver use it",
            ],
        ),
        (
            "IPFIX_FULLFLOW_SPOOL_MAX_MB=5",
            &["1: IPFIX_FULLFLOW_SPOOL_MAX_MB: no effect without destinations"],
        ),
        (
            "IPFIX_FULLFLOW_ROTATE_MINUTES=5\nIPFIX_FULLFLOW_ROTATE_DELAY_SECONDS=30",
            &["1: IPFIX_FULLFLOW_ROTATE_MINUTES: no effect: ROTATE_DELAY_SECONDS is above 0"],
        ),
        (
            "IPFIX_FULLFLOW_BIND=10.0.0.1",
            &["1: IPFIX_FULLFLOW_BIND: 10.0.0.1 is not an address of this machine"],
        ),
        (
            "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_AUTO=Enabled\n\
             IPFIX_FULLFLOW_BALANCER_SUB=127.0.0.1/9,10.0.0.1/9\nIPFIX_FULLFLOW_DUMP_DIR=/d",
            &["2: IPFIX_FULLFLOW_BALANCER_AUTO: \
               10.0.0.1/9/tcp is not on this machine: not launched"],
        ),
        (
            "IPFIX_FULLFLOW_PORT=1\nipfix_fullflow_port[1]=2\nIPFX_FULLFLOW_PORT[2]=3\nIP_X=1",
            &[
                "2: ipfix_fullflow_port[1]: not read: keys are written in capitals",
                "3: IPFX_FULLFLOW_PORT[2]: not read; did you mean IPFIX_FULLFLOW_PORT[2]?",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(notes(text), *expected, "{text}");
    }
}

#[test]
fn parameters_without_effect_change_nothing() {
    let balance = "IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB=h/1\n";
    let idle = "IPFIX_FULLFLOW_DUMP_KEEP_MB=5\nIPFIX_FULLFLOW_EXPORT=h/1/tcp\n\
                IPFIX_FULLFLOW_DPI_ID=8\n";
    assert_eq!(receiver(&format!("{balance}{idle}")), receiver(balance));
    // Subreceivers that are launched here do record.
    let launched = format!("{balance}IPFIX_FULLFLOW_BALANCER_AUTO=Enabled\n{idle}");
    let record = receiver(&launched).record;
    assert_eq!((record.keep_mb, record.dpi_id, record.copies.len()), (5, 8, 1));
    assert_eq!(notes(&launched), Vec::<String>::new());
}
