//! What a file is checked against: this machine's CPUs, addresses and name.

use std::{fs, net::IpAddr};

use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use super::params::cpu_list;

/// The machine that the receivers are to run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// CPUs that are online, sorted. Empty = unknown: `TASKSET` is not checked.
    pub cpus: Vec<usize>,
    /// Addresses of the interfaces. Loopback addresses count as local even if missing here.
    pub local_addresses: Vec<IpAddr>,
    /// Names of this machine, beside `localhost`.
    pub local_names: Vec<String>,
}

impl Environment {
    /// This machine. What can't be found out is left empty.
    pub fn gather() -> Self {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            cpus: cpu_list(online.trim()).0,
            local_addresses: interface_addresses(),
            local_names: name.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces.filter_map(|interface| interface.address.and_then(ip)).collect()
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_machine() {
        let here = Environment::gather();
        assert!(!here.cpus.is_empty());
        assert!(here.local_addresses.iter().any(IpAddr::is_loopback));
        assert_eq!(here.local_names.len(), 1);
    }
}
