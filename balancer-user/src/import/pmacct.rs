//! pmacct: a configuration of `nfacctd` with the plugin `tee`.

use std::path::Path;

use super::{ImportError, Wanted, destination, read_file};
use crate::config::{Mode, Protocol};

/// What `nfacctd` takes where its file names no port.
const DEFAULT_PORT: &str = "2100";

/// Reads a configuration, and the lists of receivers that it names.
///
/// # Errors
///
/// [`ImportError`].
pub fn read(path: &Path) -> Result<Vec<Wanted>, ImportError> {
    let text = read_file(path)?;
    let keys: Vec<(&str, &str)> = statements(&text).filter_map(|s| s.split_once(':')).collect();
    let keys: Vec<_> = keys.iter().map(|(key, value)| (key.trim(), value.trim())).collect();
    let get = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let lists = keys.iter().filter(|(key, _)| without_plugin(key) == "tee_receivers");
    let mut wanted = Wanted::new(format!("pmacct nfacctd: {}", path.display()));
    wanted.listen(Protocol::Udp, get("nfacctd_port").unwrap_or(DEFAULT_PORT), get("nfacctd_ip"));
    let mut pools = Vec::new();
    for (_, list) in lists {
        let list = path.parent().unwrap_or(Path::new("")).join(list);
        let text = read_file(&list)?;
        for line in statements(&text) {
            pools.extend(Pool::read(line));
        }
    }
    balance(&mut wanted, &pools)?;
    if keys.iter().any(|(key, value)| without_plugin(key) == "tee_transparent" && *value == "true")
    {
        wanted.note(
            "tee_transparent: collectors see the balancer's address, and a port of its own for each \
             exporter",
        );
    }
    for name in ["pre_tag_map", "nfacctd_allow_file"] {
        if let Some((_, file)) = keys.iter().find(|(key, _)| without_plugin(key) == name) {
            wanted.note(format!("{name} {file}: ALLOW_FROM limits who may send"));
        }
    }
    for plugin in get("plugins").unwrap_or_default().split(',').map(str::trim) {
        if !matches!(without_plugin(plugin), "tee" | "") {
            wanted.note(format!("the plugin {plugin}: leave it to a collector behind"));
        }
    }
    Ok(vec![wanted])
}

/// A line of a list of receivers.
struct Pool {
    receivers: Vec<String>,
    balance: Option<String>,
    tags: Option<String>,
}

impl Pool {
    fn read(line: &str) -> Option<Pool> {
        let words: Vec<_> = line.split_whitespace().filter_map(|w| w.split_once('=')).collect();
        let get = |name| words.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let address = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            Some(destination(host.trim_matches(['[', ']']), port))
        };
        let receivers = get("ip")?.split(',').filter_map(address).collect();
        let text = |name| get(name).map(str::to_owned);
        Some(Pool { receivers, balance: text("balance-alg"), tags: text("tag") })
    }
}

/// Each pool gets everything; within one that balances a datagram goes to one receiver.
fn balance(wanted: &mut Wanted, pools: &[Pool]) -> Result<(), ImportError> {
    let first =
        pools.first().ok_or(ImportError::Nothing("no tee_receivers in the configuration"))?;
    let (mode, used) = match &first.balance {
        Some(_) => (Mode::RoundRobin, 1),
        None => (Mode::All, pools.iter().take_while(|pool| pool.balance.is_none()).count()),
    };
    let (used, others) = pools.split_at_checked(used).unwrap_or((pools, &[]));
    let receivers: Vec<_> = used.iter().flat_map(|pool| pool.receivers.clone()).collect();
    wanted.balance(mode, Protocol::Udp, &receivers);
    if let Some(algorithm) = first.balance.as_ref().filter(|algorithm| *algorithm != "rr") {
        wanted.note(format!("balance-alg={algorithm}: messages take turns instead"));
    }
    for tags in used.iter().filter_map(|pool| pool.tags.as_ref()) {
        wanted.note(format!("tag={tags}: every message is passed on"));
    }
    for pool in others {
        let list = pool.receivers.join(", ");
        wanted.note(format!(
            "the pool {list}: a receiver either copies or takes turns; have it send to a second \
             receiver on this host that does the other"
        ));
    }
    Ok(())
}

/// Lines without comments.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['!', '#']))
}

/// `tee[a]` names one of several plugins.
fn without_plugin(key: &str) -> &str {
    key.split('[').next().unwrap_or(key).trim()
}
