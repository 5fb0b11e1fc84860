use std::time::{Duration, Instant};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::*;
use crate::daemon::{Connections, ProcessStatus};

fn status(messages: u64, cpu_milliseconds: u64) -> Status {
    let destination = |address: &str, state: &str, queued_bytes| DestinationStatus {
        address: address.to_owned(),
        protocol: "tcp".to_owned(),
        state: state.to_owned(),
        connections: Connections { up: 1, connecting: 0, down: 0 },
        messages: messages / 2,
        kernel_messages: 0,
        bytes: messages * 500,
        resent: 0,
        handed_on: 0,
        queued_bytes,
        unacknowledged_bytes: 0,
        unread_bytes: 0,
        spooled_messages: 3,
        spooled_bytes: 7000,
        spooled_seconds: 60,
        dropped: [("queue_full".to_owned(), messages / 10)].into(),
        last_error: (state == "down").then(|| "Connection refused".to_owned()),
    };
    let receiver = ReceiverStatus {
        name: "FULLFLOW[0]".to_owned(),
        launched_by: None,
        mode: "RoundRobin".to_owned(),
        protocol: "udp".to_owned(),
        listen: "[::]:1500".to_owned(),
        thread: "ipfix-full-0".to_owned(),
        cpus: Vec::new(),
        cpu_milliseconds,
        path: "kernel".to_owned(),
        path_reason: String::new(),
        sessions: 2,
        messages,
        bytes: messages * 1000,
        kernel_messages: messages * 3 / 4,
        passed_up: Default::default(),
        waiting_messages: 0,
        dropped: Default::default(),
        recording: None,
        spool: None,
        destinations: vec![
            destination("10.0.0.1/1500", "up", 0),
            destination("10.0.0.2/1500", "down", 4096),
        ],
    };
    Status {
        version: "0.1.0".to_owned(),
        pid: 1,
        config: "/etc/my.env".to_owned(),
        started_unix_seconds: 0,
        uptime_seconds: 90_061,
        log_level: "info".to_owned(),
        process: ProcessStatus { resident_bytes: 12_300_000, open_files: 7, ..Default::default() },
        pins: None,
        interfaces: Vec::new(),
        receivers: vec![receiver],
    }
}

fn drawn(screen: &mut Screen, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(110, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
    cells.chunks(width).map(|row| row.concat().trim_end().to_owned()).collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// 4000 messages within two seconds, and half a CPU.
fn busy() -> Screen {
    let start = Instant::now();
    let before = Sample { at: start, status: status(1000, 500) };
    let now = Sample { at: start + Duration::from_secs(2), status: status(5000, 1500) };
    let mut screen = Screen::default();
    screen.show(&before, &now);
    screen
}

#[test]
fn rates_queues_cpu_and_path_are_shown() {
    let lines = lines(&drawn(&mut busy(), 12));
    assert_eq!(lines[0], "ipfix-balancer 0.1.0  /etc/my.env  up 1d 1h  memory 12.3MB  files 7");
    assert_eq!(
        words(&lines[2]),
        [
            "FULLFLOW[0]",
            "RoundRobin",
            "udp",
            "[::]:1500",
            "kernel",
            "75%",
            "2.00k",
            "2.00M",
            "0",
            "0",
            "50%"
        ]
    );
    assert_eq!(
        words(&lines[3]),
        ["10.0.0.1/1500/tcp", "up", "1.00k", "1.00M", "0", "7.00k", "200", "500"]
    );
    assert_eq!(
        words(&lines[4]),
        ["10.0.0.2/1500/tcp", "down", "1.00k", "1.00M", "4.10k", "7.00k", "200", "500"]
    );
}

#[test]
fn what_is_wrong_is_red_and_said() {
    let mut screen = busy();
    let buffer = drawn(&mut screen, 12);
    assert_eq!(buffer[(3, 4)].fg, Color::Red);
    assert_eq!(lines(&buffer)[8], "FULLFLOW[0] 10.0.0.2/1500/tcp: Connection refused");
    screen.fail("no daemon is running");
    let lines = lines(&drawn(&mut screen, 12));
    assert_eq!(lines[8], "no answer: no daemon is running");
    assert!(lines[2].contains("FULLFLOW[0]"), "what was shown last stays");
}

#[test]
fn a_receiver_that_has_just_begun_has_no_rates() {
    let now = Sample { at: Instant::now(), status: status(5000, 0) };
    let mut screen = Screen::default();
    screen.show(&now, &now);
    assert_eq!(words(&lines(&drawn(&mut screen, 12))[2])[6..8], ["0", "0"]);
}

#[test]
fn what_does_not_fit_can_be_scrolled_to() {
    let mut screen = busy();
    assert!(
        !lines(&drawn(&mut screen, 8)).iter().any(|line| line.contains("10.0.0.2/1500/tcp   "))
    );
    screen.scroll(2);
    assert!(lines(&drawn(&mut screen, 8))[2].contains("10.0.0.2/1500/tcp"));
    screen.scroll(100);
    screen.scroll(-100);
    assert!(lines(&drawn(&mut screen, 8))[2].contains("FULLFLOW[0]"));
}

#[test]
fn numbers_have_three_digits() {
    for (number, text) in [
        (0.0, "0"),
        (999.0, "999"),
        (1234.0, "1.23k"),
        (45_678.0, "45.7k"),
        (9.87e8, "987M"),
        (2e9, "2.00G"),
    ] {
        assert_eq!(short(number), text);
    }
}
