//! `ipfix-balancer import`: other programs' configurations, and what the daemon makes of the result.

use std::fs;

use anyhow::Result;
use ipfix_balancer_tests::daemon::{Outcome, command};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG: i32 = 2;

struct Imported {
    outcome: Outcome,
    /// The keys of the text, without comments.
    keys: Vec<String>,
}

/// Imports with these files in the arguments' `{dir}`. What comes out is a file that `check` takes.
fn import(files: &[(&str, &str)], arguments: &[&str]) -> Result<Imported> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        fs::write(folder.path().join(name), text)?;
    }
    let dir = folder.path().display().to_string();
    let arguments: Vec<_> = arguments.iter().map(|text| text.replace("{dir}", &dir)).collect();
    let mut words = vec!["import"];
    words.extend(arguments.iter().map(String::as_str));
    let env = folder.path().join("imported.env");
    let outcome = command(&words, &env)?;
    fs::write(&env, &outcome.stdout)?;
    if outcome.code == DONE {
        let checked = command(&["check"], &env)?;
        assert_eq!(checked.code, DONE, "{}\n{}", outcome.stdout, checked.stdout);
    }
    let lines = outcome.stdout.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(str::to_owned).collect();
    Ok(Imported { outcome, keys })
}

/// The same notes stand in the text and on standard error.
fn assert_noted(imported: &Imported, parts: &[&str]) {
    let Outcome { stdout, stderr, .. } = &imported.outcome;
    let comments = stdout.lines().filter(|line| line.starts_with("# Not carried over: ")).count();
    assert_eq!(comments, parts.len(), "{stdout}");
    assert_eq!(stderr.lines().count(), parts.len(), "{stderr}");
    for part in parts {
        assert!(stdout.contains(part), "no {part} in\n{stdout}");
        assert!(stderr.contains(part), "no {part} in\n{stderr}");
    }
}

const FORWARDER: &str = include_str!("ipfixcol2-forwarder.xml");
const RECORDER: &str = include_str!("ipfixcol2-recorder.xml");

#[test]
fn each_input_of_ipfixcol2_becomes_a_receiver() {
    let files = [("startup.xml", FORWARDER)];
    let imported = import(&files, &["ipfixcol2", "{dir}/startup.xml"]).unwrap();
    assert_eq!(imported.outcome.code, DONE);
    let mut expected = Vec::new();
    for (index, input) in [
        (0, ["PORT_TYPE[0]=tcp", "PORT[0]=4739", "BIND[0]=192.0.2.1"].as_slice()),
        (1, &["PORT_TYPE[1]=udp", "PORT[1]=4740"]),
    ] {
        expected.extend(input.iter().map(|key| format!("IPFIX_FULLFLOW_{key}")));
        for (name, value) in [
            ("BALANCER", "RoundRobin"),
            ("BALANCER_SUB", "127.0.0.1/4751, [2001:db8::1]/4752"),
            ("BALANCER_SUB_PROTO", "tcp"),
            ("RECONNECT_SECONDS", "5"),
            ("TEMPLATE_SECONDS", "300"),
            ("TEMPLATE_MESSAGES", "1000"),
        ] {
            expected.push(format!("IPFIX_FULLFLOW_{name}[{index}]={value}"));
        }
    }
    assert_eq!(imported.keys, expected);
    let json = "the output \"json\"";
    assert_noted(&imported, &[json, "listening on 192.0.2.2, 192.0.2.3 only", json]);
}

#[test]
fn what_ipfixcol2_records_and_forwards_is_recorded_with_copies() {
    let files = [("startup.xml", RECORDER)];
    let arguments = ["--stream", "dnsflow", "--index", "3", "ipfixcol2", "{dir}/startup.xml"];
    let imported = import(&files, &arguments).unwrap();
    assert_eq!(imported.outcome.code, DONE);
    let expected = [
        "PORT_TYPE[3]=udp",
        "PORT[3]=4739",
        "BALANCER[3]=Disabled",
        "ROTATE_DELAY_SECONDS[3]=60",
        "DUMP_DIR[3]=/srv/ipfix",
        "DUMP_INSERT_PROCESSES[3]=10.0.0.1/4739/udp",
    ];
    assert_eq!(imported.keys, expected.map(|key| format!("IPFIX_DNSFLOW_{key}")));
    assert_noted(&imported, &["/srv/ipfix/%d-%m-%y/%H.ipfix", "TLS"]);
}

#[test]
fn a_file_that_is_not_ipfixcol2s_is_refused() {
    for (text, part) in [
        ("<collector/>", "not <ipfixcol2>"),
        ("<ipfixcol2><a></ipfixcol2>", "startup.xml"),
        ("<ipfixcol2/>", "no tcp or udp input"),
    ] {
        let files = [("startup.xml", text)];
        let imported = import(&files, &["ipfixcol2", "{dir}/startup.xml"]).unwrap();
        let Outcome { code, stdout, stderr } = imported.outcome;
        assert_eq!((code, stdout.as_str()), (FAILED, ""), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn what_would_not_run_is_said() {
    let text = "<ipfixcol2><inputPlugins><input><plugin>tcp</plugin></input></inputPlugins>\
        <outputPlugins><output><plugin>forwarder</plugin><params><mode>All</mode></params></output>\
        </outputPlugins></ipfixcol2>";
    let files = [("startup.xml", text)];
    let imported = import(&files, &["ipfixcol2", "{dir}/startup.xml"]).unwrap();
    assert_eq!(imported.outcome.code, WRONG);
    assert!(imported.outcome.stderr.contains("BALANCER_SUB"), "{}", imported.outcome.stderr);
}

const NFACCTD: &str = "! replication\ndaemonize: true\nnfacctd_port: 2055\nnfacctd_ip: 192.0.2.1\n\
    plugins: tee[a], print[b]\ntee_receivers[a]: receivers.lst\ntee_transparent: true\n";

#[test]
fn pools_of_pmacct_that_copy_are_one_list() {
    let pools = "! all\nid=1 ip=192.168.1.1:2100\nid=2\tip=192.168.2.1:2100,[::1]:2101 tag=100\n";
    let files = [("nfacctd.conf", NFACCTD), ("receivers.lst", pools)];
    let imported = import(&files, &["pmacct", "{dir}/nfacctd.conf"]).unwrap();
    let expected = [
        "PORT_TYPE[0]=udp",
        "PORT[0]=2055",
        "BIND[0]=192.0.2.1",
        "BALANCER[0]=All",
        "BALANCER_SUB[0]=192.168.1.1/2100, 192.168.2.1/2100, [::1]/2101",
        "BALANCER_SUB_PROTO[0]=udp",
    ];
    assert_eq!(imported.keys, expected.map(|key| format!("IPFIX_FULLFLOW_{key}")));
    assert_noted(&imported, &["tag=100", "tee_transparent", "the plugin print[b]"]);
}

#[test]
fn a_pool_of_pmacct_that_balances_is_round_robin() {
    let pools = "id=1 ip=192.168.1.1:2100,c2.example.net:2100 balance-alg=hash-agent\n\
        id=2 ip=192.168.3.1:2100\n";
    let text = NFACCTD.replace("tee_transparent: true\n", "").replace(", print[b]", "");
    let files = [("nfacctd.conf", text.as_str()), ("receivers.lst", pools)];
    let imported = import(&files, &["pmacct", "{dir}/nfacctd.conf"]).unwrap();
    let keys = imported.keys.join("\n");
    assert!(keys.contains("BALANCER[0]=RoundRobin"), "{keys}");
    assert!(keys.contains("BALANCER_SUB[0]=192.168.1.1/2100, c2.example.net/2100"), "{keys}");
    assert_noted(&imported, &["balance-alg=hash-agent", "the pool 192.168.3.1/2100"]);
}

#[test]
fn a_list_of_receivers_that_is_missing_is_named() {
    let files = [("nfacctd.conf", NFACCTD)];
    let imported = import(&files, &["pmacct", "{dir}/nfacctd.conf"]).unwrap();
    assert_eq!(imported.outcome.code, FAILED);
    assert!(imported.outcome.stderr.contains("receivers.lst"), "{}", imported.outcome.stderr);
}

#[test]
fn the_arguments_of_samplicate_are_a_receiver() {
    let arguments = "samplicator -s 192.0.2.1 -p 2055 -b 1000000 -f -S 10.0.0.1/9995 10.0.0.2 \
        2001:db8::2/9996/10,64";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let imported = import(&[], &arguments).unwrap();
    let expected = [
        "PORT_TYPE[0]=udp",
        "PORT[0]=2055",
        "BIND[0]=192.0.2.1",
        "BALANCER[0]=All",
        "BALANCER_SUB[0]=10.0.0.1/9995, 10.0.0.2/2000, [2001:db8::2]/9996",
        "BALANCER_SUB_PROTO[0]=udp",
    ];
    assert_eq!(imported.keys, expected.map(|key| format!("IPFIX_FULLFLOW_{key}")));
    assert_noted(&imported, &["one of 10 datagrams", "time to live 64", "-S"]);
}

#[test]
fn senders_of_samplicator_have_receivers_of_their_own() {
    let senders = "# by sender\n192.168.0.0/255.255.0.0: 10.0.0.1/9995 10.0.0.2/9995\n\n\
        [2001:db8::1]: [2001:db8::2]/9996 # one\n";
    let files = [("senders", senders)];
    let arguments = ["samplicator", "-p", "2055", "-c", "{dir}/senders"];
    let imported = import(&files, &arguments).unwrap();
    let keys = imported.keys.join("\n");
    for part in [
        "PORT[0]=2055\n",
        "BALANCER_SUB[0]=10.0.0.1/9995, 10.0.0.2/9995\n",
        "ALLOW_FROM[0]=192.168.0.0/16\n",
        "PORT[1]=2056\n",
        "BALANCER_SUB[1]=[2001:db8::2]/9996\n",
        "ALLOW_FROM[1]=2001:db8::1/128",
    ] {
        assert!(keys.contains(part), "no {part} in\n{keys}");
    }
    assert_noted(&imported, &["have 2001:db8::1/128 send to port 2056"]);
}

#[test]
fn a_line_that_samplicator_would_not_read_is_named() {
    let files = [("senders", "10.0.0.1: 10.0.0.2/1\nnonsense\n")];
    let imported = import(&files, &["samplicator", "-c", "{dir}/senders"]).unwrap();
    assert_eq!(imported.outcome.code, FAILED);
    assert!(imported.outcome.stderr.contains("line 2"), "{}", imported.outcome.stderr);
}
