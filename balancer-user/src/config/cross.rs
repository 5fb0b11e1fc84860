//! Checks across the parameters of a file, and against the machine.

use std::collections::BTreeMap;

use super::{
    Accel, Environment, Mode, Protocol, Reason, Stream,
    fault::{Findings, Place},
    loops,
    params::{
        ACCEL, BALANCER, BALANCER_AUTO, BALANCER_SUB, BALANCER_SUB_PROTO, BIND, Globals,
        METRICS_LISTEN, PORT, PORT_TYPE, ROTATE_DELAY_SECONDS, ROTATE_MINUTES, TASKSET, UI_CERT,
        UI_KEY, UI_LISTEN, cpu_ranges,
    },
    receivers::{Candidate, Candidates},
    text::PREFIX,
};

/// Reports everything that one value alone doesn't show.
pub(super) fn check(candidates: &Candidates, environment: &Environment, findings: &mut Findings) {
    let receivers = &candidates.receivers;
    for candidate in receivers {
        subreceivers_given(candidate, findings);
        cpus_exist(candidate, environment, findings);
        kernel_path_possible(candidate, findings);
        note_oddities(candidate, environment, findings);
    }
    ports_unique(candidates, findings);
    rotations_follow(receivers, findings);
    loops::check(receivers, environment, findings);
    certificate_has_its_key(candidates, findings);
}

fn certificate_has_its_key(candidates: &Candidates, findings: &mut Findings) {
    let place = |name| candidates.global_places.get(name).cloned();
    let (given, missing) = match (place(UI_CERT), place(UI_KEY)) {
        (Some(given), None) => (given, UI_KEY),
        (None, Some(given)) => (given, UI_CERT),
        _ => return,
    };
    findings.suggest(
        given,
        Reason::Missing,
        Some(format!("it together with {PREFIX}{missing}")),
        None,
    );
}

fn subreceivers_given(candidate: &Candidate, findings: &mut Findings) {
    let receiver = candidate.receiver();
    let balances = receiver.mode != Mode::Disabled && receiver.destinations.is_empty();
    if !balances || !candidate.sound(BALANCER) || !candidate.sound(BALANCER_SUB) {
        return;
    }
    let given = candidate.is_given(BALANCER_SUB);
    let place = candidate.place(if given { BALANCER_SUB } else { BALANCER });
    let allowed = format!("{BALANCER_SUB} with one subreceiver or more");
    findings.suggest(place, Reason::NoDestination, Some(allowed), None);
}

fn cpus_exist(candidate: &Candidate, environment: &Environment, findings: &mut Findings) {
    if environment.cpus.is_empty() {
        return;
    }
    let cpus = candidate.receiver().cpus.iter().copied();
    let missing: Vec<usize> = cpus.filter(|cpu| !environment.cpus.contains(cpu)).collect();
    if !missing.is_empty() {
        let allowed = format!("CPUs {}", cpu_ranges(&environment.cpus));
        let reason = Reason::NoSuchCpu(missing);
        findings.suggest(candidate.place(TASKSET), reason, Some(allowed), None);
    }
}

fn kernel_path_possible(candidate: &Candidate, findings: &mut Findings) {
    let receiver = candidate.receiver();
    if receiver.mode == Mode::Disabled || receiver.accel != Accel::Require {
        return;
    }
    let tcp_output = candidate.draft.sub_protocol == Protocol::Tcp;
    let tcp = [
        ("input", PORT_TYPE, receiver.protocol == Protocol::Tcp),
        ("output", BALANCER_SUB_PROTO, tcp_output),
    ];
    for (side, name, _) in tcp.into_iter().filter(|(_, name, tcp)| *tcp && candidate.sound(name)) {
        let allowed = format!("{name}=udp, or {ACCEL}=auto");
        let reason = Reason::AccelNeedsUdp(side);
        findings.suggest(candidate.place(ACCEL), reason, Some(allowed), None);
    }
}

fn note_oddities(candidate: &Candidate, environment: &Environment, findings: &mut Findings) {
    let receiver = candidate.receiver();
    if receiver.record.rotate_delay_seconds > 0 && candidate.is_given(ROTATE_MINUTES) {
        let Place { line, key, .. } = candidate.place(ROTATE_MINUTES);
        findings.note(line, &key, format!("no effect: {ROTATE_DELAY_SECONDS} is above 0"));
    }
    let local = |ip| loops::is_local(ip, environment);
    if let Some(ip) = receiver.bind.filter(|ip| !local(*ip)) {
        let Place { line, key, .. } = candidate.place(BIND);
        findings.note(line, &key, format!("{ip} is not an address of this machine"));
    }
    if receiver.auto {
        for destination in
            receiver.destinations.iter().filter(|d| loops::is_elsewhere(d, environment))
        {
            let Place { line, key, .. } = candidate.place(BALANCER_AUTO);
            findings.note(
                line,
                &key,
                format!("{destination} is not on this machine: not launched"),
            );
        }
    }
}

fn ports_unique(candidates: &Candidates, findings: &mut Findings) {
    let mut taken: BTreeMap<(Protocol, u16), Place> = BTreeMap::new();
    for (protocol, port, place) in listeners(candidates) {
        match taken.get(&(protocol, port)) {
            None => {
                taken.insert((protocol, port), place);
            }
            Some(Place { line, key, .. }) => {
                let port = format!("{port}/{protocol}");
                let (key, line) = (key.clone(), *line);
                findings.fault(place, Reason::PortTwice { port, key, line });
            }
        }
    }
}

/// Everything that listens, in the order of lines: the later one is to blame.
fn listeners(candidates: &Candidates) -> Vec<(Protocol, u16, Place)> {
    let known = candidates.receivers.iter().filter(|candidate| candidate.has_port());
    let receivers = known.map(|candidate| {
        let receiver = candidate.receiver();
        (receiver.protocol, receiver.port, candidate.place(PORT))
    });
    let Globals { ui_listen, metrics_listen, .. } = &candidates.globals;
    let addresses = [(UI_LISTEN, ui_listen), (METRICS_LISTEN, metrics_listen)];
    let globals = addresses.into_iter().filter_map(|(name, address)| {
        let place = candidates.global_places.get(name)?.clone();
        Some((Protocol::Tcp, address.as_ref()?.port(), place))
    });
    let mut listeners: Vec<_> = receivers.chain(globals).collect();
    listeners.sort_by_key(|(_, _, place)| place.line);
    listeners
}

fn rotations_follow(receivers: &[Candidate], findings: &mut Findings) {
    let of = |stream| {
        move |candidate: &&Candidate| {
            let names = [BALANCER, ROTATE_MINUTES, ROTATE_DELAY_SECONDS];
            let receiver = candidate.receiver();
            let sound = names.into_iter().all(|name| candidate.sound(name));
            receiver.id.stream == stream && receiver.records() && sound
        }
    };
    for click in receivers.iter().filter(of(Stream::Clickstream)) {
        let index = click.receiver().id.index;
        let mut fullflows = receivers.iter().filter(of(Stream::Fullflow));
        let Some(full) = fullflows.find(|full| full.receiver().id.index == index) else { continue };
        let (ours, theirs) = (click.receiver(), full.receiver());
        // Without a rotation by time there is nothing to be shorter than.
        let (Some(seconds), Some(fullflow_seconds)) =
            (ours.record.rotate_seconds(), theirs.record.rotate_seconds())
        else {
            continue;
        };
        if seconds < fullflow_seconds {
            let (fullflow, line) = (theirs.id, rotation(full).line);
            let reason = Reason::RotationShorter { fullflow, line, seconds, fullflow_seconds };
            let allowed = format!("{fullflow_seconds} s or more");
            findings.suggest(rotation(click), reason, Some(allowed), None);
        }
    }
}

/// Where the rotation by time is set.
fn rotation(candidate: &Candidate) -> Place {
    let seconds = candidate.receiver().record.rotate_delay_seconds > 0;
    candidate.place(if seconds { ROTATE_DELAY_SECONDS } else { ROTATE_MINUTES })
}
