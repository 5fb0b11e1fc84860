//! Addresses and ports as the maps have them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use common::maps::{Address, Mac, Port, Source};

/// The words of an address; IPv4 is mapped into IPv6.
pub fn address(ip: IpAddr) -> Address {
    let mapped = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    mapped.segments().map(u16::to_be)
}

/// The address of the words.
pub fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.map(u16::from_be)).to_canonical()
}

/// The words of a port.
pub fn port(port: u16) -> Port {
    port.to_be()
}

/// The words of an Ethernet address.
pub fn mac([a, b, c, d, e, f]: [u8; 6]) -> Mac {
    [[a, b], [c, d], [e, f]].map(u16::from_ne_bytes)
}

/// Where a socket's datagrams come from.
pub fn source(socket: SocketAddr) -> Source {
    Source { address: address(socket.ip()), port: port(socket.port()), zeros: 0 }
}

/// The socket address in the maps' words.
pub fn socket(address: Address, port: Port) -> SocketAddr {
    SocketAddr::new(ip(address), u16::from_be(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["10.1.2.3:4739", "[2001:db8::1]:1"] {
            let given: SocketAddr = text.parse().unwrap();
            let Source { address, port, .. } = source(given);
            assert_eq!(socket(address, port), given);
        }
        assert_eq!(
            address([10, 1, 2, 3].into()),
            [0, 0, 0, 0, 0, 0xffff, u16::from_ne_bytes([10, 1]), u16::from_ne_bytes([2, 3])]
        );
        assert_eq!(mac([1, 2, 3, 4, 5, 6]).map(u16::to_ne_bytes).concat(), [1, 2, 3, 4, 5, 6]);
    }
}
