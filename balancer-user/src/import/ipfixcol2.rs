//! IPFIXcol2: its startup file, with the outputs `forwarder` and `ipfix`.
//!
//! There every input feeds every output. Here each input becomes a receiver that does what the
//! outputs do.

use std::path::Path;

use roxmltree::{Document, Node};

use super::{ImportError, Wanted, destination, read_file};
use crate::config::{Mode, Protocol};

/// What IPFIXcol2 takes where its file names no port.
const DEFAULT_PORT: &str = "4739";

/// Reads a startup file.
///
/// # Errors
///
/// [`ImportError`].
pub fn read(path: &Path) -> Result<Vec<Wanted>, ImportError> {
    let text = read_file(path)?;
    let syntax = |what: String| ImportError::Syntax { path: path.to_owned(), what };
    let document = Document::parse(&text).map_err(|error| syntax(error.to_string()))?;
    let root = document.root_element();
    if !root.has_tag_name("ipfixcol2") {
        return Err(syntax("the root element is not <ipfixcol2>".to_owned()));
    }
    let plugins = |list, one| {
        children(root, list).flat_map(move |list| children(list, one)).collect::<Vec<_>>()
    };
    let outputs = plugins("outputPlugins", "output");
    let receivers: Vec<_> =
        plugins("inputPlugins", "input").iter().filter_map(|i| receiver(*i, &outputs)).collect();
    if receivers.is_empty() {
        return Err(ImportError::Nothing("the file has no tcp or udp input"));
    }
    Ok(receivers)
}

fn receiver(input: Node<'_, '_>, outputs: &[Node<'_, '_>]) -> Option<Wanted> {
    let protocol: Protocol = value(input, "plugin")?.to_ascii_lowercase().parse().ok()?;
    let name = value(input, "name").unwrap_or("input without a name");
    let mut wanted = Wanted::new(format!("IPFIXcol2: {name}"));
    if let Some(params) = children(input, "params").next() {
        listen(&mut wanted, protocol, params);
    }
    let plugin = |name| {
        outputs.iter().filter(move |output| value(**output, "plugin") == Some(name)).copied()
    };
    let mut forwarders = plugin("forwarder");
    match (forwarders.next(), plugin("ipfix").next()) {
        (Some(forwarder), None) => forward(&mut wanted, forwarder),
        (forwarder, Some(ipfix)) => {
            record(&mut wanted, ipfix);
            if let Some(forwarder) = forwarder {
                copy(&mut wanted, forwarder);
            }
        }
        (None, None) => wanted.note("the file has neither a forwarder nor an ipfix output"),
    }
    for forwarder in forwarders {
        let name = value(forwarder, "name").unwrap_or("another one");
        wanted.note(format!("the forwarder {name:?}: a receiver has one list of destinations"));
    }
    for output in outputs {
        let plugin = value(*output, "plugin").unwrap_or_default();
        if !matches!(plugin, "forwarder" | "ipfix") {
            wanted.note(format!("the output {plugin:?}: leave it to a collector behind"));
        }
    }
    Some(wanted)
}

fn listen(wanted: &mut Wanted, protocol: Protocol, params: Node<'_, '_>) {
    let addresses: Vec<_> = children(params, "localIPAddress").filter_map(text).collect();
    let bind = match addresses.as_slice() {
        [address] => Some(*address),
        _ => None,
    };
    wanted.listen(protocol, value(params, "localPort").unwrap_or(DEFAULT_PORT), bind);
    if addresses.len() > 1 {
        let list = addresses.join(", ");
        wanted.note(format!("listening on {list} only; this listens on all addresses"));
    }
    if children(params, "tls").next().is_some() {
        wanted.note("TLS: put a TLS proxy in front of this port");
    }
}

fn forward(wanted: &mut Wanted, output: Node<'_, '_>) {
    let Some(params) = children(output, "params").next() else { return };
    let mode = match value(params, "mode") {
        Some(mode) if mode.eq_ignore_ascii_case("roundrobin") => Mode::RoundRobin,
        _ => Mode::All,
    };
    let hosts: Vec<_> = hosts(params).collect();
    wanted.balance(mode, protocol(params), &hosts);
    // Earlier versions had the other names.
    for (names, parameter) in [
        (["reconnectSecs", "reconnectIntervalSecs"], "RECONNECT_SECONDS"),
        (["templatesResendSecs", "templateRefreshIntervalSecs"], "TEMPLATE_SECONDS"),
        (["templatesResendPkts", ""], "TEMPLATE_MESSAGES"),
    ] {
        if let Some(value) = names.iter().find_map(|name| value(params, name)) {
            wanted.set(parameter, value);
        }
    }
    if value(params, "templateRefreshIntervalBytes").is_some() {
        wanted.note("templateRefreshIntervalBytes: see TEMPLATE_MESSAGES");
    }
}

fn record(wanted: &mut Wanted, output: Node<'_, '_>) {
    wanted.set("BALANCER", Mode::Disabled);
    let Some(params) = children(output, "params").next() else { return };
    if let Some(seconds) = value(params, "windowSize") {
        wanted.set("ROTATE_DELAY_SECONDS", seconds);
    }
    if let Some(filename) = value(params, "filename") {
        // Up to where names begin to depend on the time.
        let fixed = filename.split_once('%').map_or(filename, |(fixed, _)| fixed);
        if let Some((dir, _)) = fixed.rsplit_once('/').filter(|(dir, _)| !dir.is_empty()) {
            wanted.set("DUMP_DIR", dir);
        }
        wanted.note(format!("the name {filename:?}: files are named as docs/recording.md says"));
    }
}

/// A recording receiver sends copies to destinations with their own protocol each.
fn copy(wanted: &mut Wanted, forwarder: Node<'_, '_>) {
    let Some(params) = children(forwarder, "params").next() else { return };
    if value(params, "mode").is_some_and(|mode| mode.eq_ignore_ascii_case("roundrobin")) {
        wanted.note(
            "the forwarder's round robin: a receiver either records or balances; have a balancing \
             one send to a recording one",
        );
        return;
    }
    let protocol = protocol(params);
    let copies: Vec<_> = hosts(params).map(|host| format!("{host}/{protocol}")).collect();
    wanted.set("DUMP_INSERT_PROCESSES", copies.join(", "));
}

fn protocol(params: Node<'_, '_>) -> Protocol {
    let name = value(params, "protocol").unwrap_or_default().to_ascii_lowercase();
    name.parse().unwrap_or(Protocol::Tcp)
}

fn hosts<'a>(params: Node<'a, 'a>) -> impl Iterator<Item = String> + 'a {
    let hosts = children(params, "hosts").flat_map(|hosts| children(hosts, "host"));
    hosts.filter_map(|host| Some(destination(value(host, "address")?, value(host, "port")?)))
}

fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |child| child.has_tag_name(name))
}

/// Text of the first child of this name, if there is any in it.
fn value<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.has_tag_name(name)).and_then(text)
}

fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text().map(str::trim).filter(|text| !text.is_empty())
}
