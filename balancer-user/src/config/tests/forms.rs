//! Every form in which real files are written.

use super::*;

fn destinations(receiver: &Receiver) -> Vec<String> {
    receiver.destinations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_port_is_read_in_every_form() {
    for text in [
        "IPFIX_FULLFLOW_PORT[0]=1600",
        "IPFIX_FULLFLOW_PORT=1600",
        "IPFIX_FULLFLOW_PORT[0]=1600\r\n",
        "\u{feff}IPFIX_FULLFLOW_PORT[0]=1600\n",
        "\u{feff}# comment\r\nIPFIX_FULLFLOW_PORT[0]=1600\r\n\r\n",
        "# comment\n\u{feff}IPFIX_FULLFLOW_PORT[0]=1600",
        "export IPFIX_FULLFLOW_PORT[0]=1600",
        "\texport\tIPFIX_FULLFLOW_PORT[0] = 1600  ",
        "IPFIX_FULLFLOW_PORT[0]=\"1600\"",
        "IPFIX_FULLFLOW_PORT[0]='1600'",
        "IPFIX_FULLFLOW_PORT[0]=\" 1600 \" # why",
        "IPFIX_FULLFLOW_PORT[0]='1600'# why",
        "IPFIX_FULLFLOW_PORT[0]=1600 # why",
        "IPFIX_FULLFLOW_PORT[0]=1600\t#why \"not",
        "IPFIX_FULLFLOW_PORT [ 0 ] = 1600",
        "IPFIX_FULLFLOW_PORT[00]=1600",
        "IPFIX_FULLFLOW_PORT[0]=\u{a0}1600\u{a0}",
        "IPFIX_FULLFLOW_PORT[0]=\"\n1600\n\"",
    ] {
        let receiver = receiver(text);
        assert_eq!((receiver.id.index, receiver.port), (0, 1600), "{text:?}");
        assert_eq!(notes(text), Vec::<String>::new());
    }
}

#[test]
fn lists_are_read_in_every_form() {
    for list in [
        "10.0.0.1/1500,collector.example.net/1600,[2001:db8::1]/4739",
        "10.0.0.1/1500, collector.example.net/1600, 2001:db8::1/4739",
        "10.0.0.1/1500 ,\tcollector.example.net/1600 ,[2001:DB8:0::1]/04739 # three",
        "\"10.0.0.1/1500, collector.example.net/1600, 2001:db8::1/4739\"",
        "'10.0.0.1 / 1500, collector.example.net/1600, [2001:db8::1] / 4739' # three",
        "\"10.0.0.1/1500,\n  collector.example.net/1600,\r\n  2001:db8::1/4739\" # three",
    ] {
        let text =
            format!("IPFIX_FULLFLOW_BALANCER=All\nIPFIX_FULLFLOW_BALANCER_SUB[0]={list}\r\n");
        assert_eq!(
            destinations(&receiver(&text)),
            ["10.0.0.1/1500/tcp", "collector.example.net/1600/tcp", "[2001:db8::1]/4739/tcp"],
            "{text}"
        );
    }
}

#[test]
fn words_are_read_in_any_letter_case() {
    for (word, mode) in
        [("ALL", Mode::All), ("roundROBIN", Mode::RoundRobin), ("roundrobin", Mode::RoundRobin)]
    {
        let text = format!(
            "IPFIX_FULLFLOW_BALANCER={word}\nIPFIX_FULLFLOW_BALANCER_SUB=h/1\n\
             IPFIX_FULLFLOW_PORT_TYPE=UDP\nIPFIX_FULLFLOW_BALANCER_SUB_PROTO=Udp\n\
             IPFIX_FULLFLOW_BALANCER_AUTO=enabled\nIPFIX_FULLFLOW_ACCEL=Require\n\
             IPFIX_FULLFLOW_SPOOL_FULL=HOLD\nIPFIX_FULLFLOW_DUMP_ZSTD=ON\n"
        );
        let r = receiver(&text);
        assert_eq!(
            (r.mode, r.protocol, r.auto, r.accel),
            (mode, Protocol::Udp, true, Accel::Require)
        );
        assert_eq!(r.destinations[0].protocol, Protocol::Udp);
        assert_eq!((r.spool.full, r.record.zstd), (SpoolFull::Hold, true));
    }
}

#[test]
fn order_and_gaps_of_indices_do_not_matter() {
    let text = "IPFIX_DNSFLOW_PORT[7]=7\nIPFIX_FULLFLOW_PORT[999]=9\nIPFIX_FULLFLOW_PORT[2]=2\n\
                IPFIX_DNSFLOW_DPI_ID[7]=70\nIPFIX_GTPFLOW_PORT_TYPE=udp\nIPFIX_NATFLOW_BIND=\n";
    let receivers = receivers(text);
    let ids: Vec<_> = receivers.iter().map(|r| r.id.to_string()).collect();
    assert_eq!(ids, ["FULLFLOW[2]", "FULLFLOW[999]", "DNSFLOW[7]", "NATFLOW[0]", "GTPFLOW[0]"]);
    let dpis: Vec<_> = receivers.iter().map(|r| r.record.dpi_id).collect();
    assert_eq!(dpis, [0, 1, 70, 0, 0]);
    let ports: Vec<_> = receivers.iter().map(|r| r.port).collect();
    assert_eq!(ports, [2, 9, 7, 1503, 1502]);
}

#[test]
fn defaults_are_the_documented_ones() {
    let r = receiver("IPFIX_FULLFLOW_DPI_ID[3]=-1");
    assert_eq!((r.protocol, r.port, r.bind, r.mode), (Protocol::Tcp, 1500, None, Mode::Disabled));
    assert_eq!((r.destinations, r.auto, r.cpus), (vec![], false, vec![]));
    assert_eq!((r.accel, r.allow_from, r.reconnect_seconds), (Accel::Auto, vec![], 10));
    assert_eq!((r.template_seconds, r.template_messages), (600, 5000));
    let spool = Spool {
        dir: "/var/fast_ipfix_balancer/spool".into(),
        max_mb: 1024,
        max_hours: 0,
        full: SpoolFull::DropOldest,
    };
    assert_eq!(r.spool, spool);
    let record = Record {
        rotate_minutes: 10,
        rotate_delay_seconds: 0,
        max_records: 0,
        copies: vec![],
        dpi_id: 0,
        dir: "/var/fast_ipfix_balancer/dump".into(),
        keep_days: 0,
        keep_mb: 0,
        zstd: false,
        empty: false,
        hup_pidfile: None,
        command: None,
    };
    assert_eq!(r.record, record);
    for (text, minutes) in [
        ("IPFIX_CLICKSTREAM_PORT=1", 12),
        ("IPFIX_DNSFLOW_PORT=1", 12),
        ("IPFIX_FULLFLOW_PORT=1", 10),
    ] {
        assert_eq!(receiver(text).record.rotate_minutes, minutes);
    }
}

#[test]
fn aliases_are_the_same_parameters() {
    let r = receiver("IPFIX_FULLFLOW_EXPORT[0]=h/1/udp\nIPFIX_FULLFLOW_BALANCER_TASKSET=4-6,2");
    assert_eq!((r.record.copies[0].to_string(), r.cpus), ("h/1/udp".to_owned(), vec![2, 4, 5, 6]));
}

#[test]
fn cpu_lists_are_those_of_taskset() {
    for (text, cpus) in [
        ("61", vec![61]),
        ("2,3", vec![2, 3]),
        ("3, 2,2", vec![2, 3]),
        ("4-7", vec![4, 5, 6, 7]),
        ("0-6:3,1", vec![0, 1, 3, 6]),
        ("", vec![]),
    ] {
        assert_eq!(receiver(&format!("IPFIX_FULLFLOW_TASKSET={text}")).cpus, cpus, "{text}");
    }
}

#[test]
fn addresses_are_read() {
    let r =
        receiver("IPFIX_FULLFLOW_BIND=[::1]\nIPFIX_FULLFLOW_ALLOW_FROM=10.1.2.3/8, ::1,1.2.3.4");
    assert_eq!(r.bind, Some("::1".parse().unwrap()));
    let networks: Vec<_> = r.allow_from.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128", "1.2.3.4/32"]);
    for (text, address) in [
        ("127.0.0.1:80", Some("127.0.0.1:80")),
        ("127.0.0.1/80", Some("127.0.0.1:80")),
        ("[::1]/80", Some("[::1]:80")),
        ("Off", None),
        ("", None),
    ] {
        let config = parse(&format!("IPFIX_UI_LISTEN={text}")).unwrap().config;
        assert_eq!(config.ui.listen, address.map(|address| address.parse().unwrap()));
        assert_eq!(config.metrics_listen, None);
    }
}

#[test]
fn values_are_literal() {
    for (written, value) in [
        ("/bin/x $HOME ${PATH}", "/bin/x $HOME ${PATH}"),
        ("\"/bin/x $HOME\"", "/bin/x $HOME"),
        ("'/bin/x $HOME \\d'", "/bin/x $HOME \\d"),
        ("sh -c 'kill -1 \"$1\"' #no", "sh -c 'kill -1 \"$1\"'"),
        ("\"sh -c \\\"a\\\" \\$1 \\\\ #yes\"", "sh -c \"a\" $1 \\ #yes"),
        ("a#b", "a#b"),
        ("it's", "it's"),
        ("C:\\dir", "C:\\dir"),
    ] {
        let text = format!("PATH=no\nIPFIX_FULLFLOW_ROTATE_COMMAND[0]={written}\n");
        assert_eq!(receiver(&text).record.command.as_deref(), Some(value), "{written}");
    }
    assert_eq!(receiver("IPFIX_FULLFLOW_ROTATE_COMMAND= # none").record.command, None);
}

#[test]
fn other_programs_keys_are_left_alone() {
    let text = "DB_HOST=x\nDB HOST\n=\n[section]\nKEY[1=\nA=\"open\nB='it\nC=$(rm -rf)\n\
                PEM=\"-----BEGIN\nIPFIX_FULLFLOW_PORT[0]=1\n-----END\" # pem\n\
                QUOTED='a\\'\nIPFIX_FULLFLOW_PORT[0]=1600\nD=\"\\\n";
    assert_eq!(receiver(text).port, 1600);
    assert_eq!(
        notes(text),
        ["9: PEM: its quoted value spans lines with IPFIX_ keys, which are not read"]
    );
    // A stray quote doesn't swallow our keys.
    let text = "A=\"open\nIPFIX_FULLFLOW_BALANCER_SUB[0]=\"h/1\"\nIPFIX_FULLFLOW_BALANCER=All";
    assert_eq!(destinations(&receiver(text)), ["h/1/tcp"]);
    assert_eq!(notes(text), Vec::<String>::new());
}

#[test]
fn lines_are_the_file() {
    let text = "\u{feff}# a\r\n\r\nB=\"x\ny\" # z\nIPFIX_FULLFLOW_PORT[0]=1\n\n  ";
    let lines = text::lines(text);
    assert_eq!(lines.iter().map(|line| line.raw).collect::<String>(), text);
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 5, 6, 7]);
}
