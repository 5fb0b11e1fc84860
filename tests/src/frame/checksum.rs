//! The Internet checksum (RFC 1071).

use std::net::SocketAddr;

use super::Checksum;

/// One's complement sum. Every part but the last has an even number of octets.
pub(super) fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    words.fold(0, |sum, word| {
        let word = match word {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        add(sum, word)
    })
}

fn add(sum: u16, word: u16) -> u16 {
    let (sum, carry) = sum.overflowing_add(word);
    // After a carry the sum is at most 0xfffe: there is no second one.
    sum + u16::from(carry)
}

/// The sum of what a UDP checksum covers besides the datagram (RFC 768, RFC 8200 section 8.1).
pub(super) fn pseudo_header(source: SocketAddr, target: SocketAddr, length: u16) -> u16 {
    let rest = add(u16::from(etherparse::IpNumber::UDP.0), length);
    match (source, target) {
        (SocketAddr::V4(source), SocketAddr::V4(target)) => {
            add(rest, sum(&[&source.ip().octets(), &target.ip().octets()]))
        }
        (SocketAddr::V6(source), SocketAddr::V6(target)) => {
            add(rest, sum(&[&source.ip().octets(), &target.ip().octets()]))
        }
        _ => rest,
    }
}

/// The checksum field in this state, for a datagram whose field is zero.
pub(super) fn field(state: Checksum, pseudo_header: u16, datagram: &[u8]) -> u16 {
    let right = match !add(pseudo_header, sum(&[datagram])) {
        // Zero stands for none.
        0 => u16::MAX,
        right => right,
    };
    match state {
        Checksum::Right => right,
        Checksum::Zero => 0,
        Checksum::Partial => pseudo_header,
        Checksum::Wrong => wrong(right, pseudo_header),
    }
}

/// A value that is none of the others.
fn wrong(right: u16, pseudo_header: u16) -> u16 {
    let candidates = [0x5555, 0x6666, 0x7777];
    let other = |value: &u16| *value != right && *value != pseudo_header;
    candidates.into_iter().find(other).unwrap_or(1)
}

/// The state of a datagram's checksum.
pub(super) fn state(field: u16, pseudo_header: u16, datagram: &[u8]) -> Checksum {
    match field {
        0 => Checksum::Zero,
        _ if add(pseudo_header, sum(&[datagram])) == u16::MAX => Checksum::Right,
        _ if field == pseudo_header => Checksum::Partial,
        _ => Checksum::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::UdpHeader;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&[&bytes]), 0xddf2);
        assert_eq!(sum(&[&bytes[..4], &bytes[4..]]), 0xddf2);
    }

    #[test]
    fn another_implementation_computes_the_same() {
        for length in 0..70_u16 {
            let payload: Vec<u8> =
                (0..length).map(|n| u8::try_from(n * 3 % 251).unwrap()).collect();
            let header = UdpHeader {
                source_port: 40_000 + length,
                destination_port: 4739,
                length: 8 + length,
                checksum: 0,
            };
            let datagram = [&header.to_bytes()[..], &payload].concat();
            let (one, two) = ([10, 1, 0, 2], [192, 168, 255, 254]);
            let pseudo = pseudo_header((one, 1).into(), (two, 1).into(), header.length);
            let ours = field(Checksum::Right, pseudo, &datagram);
            assert_eq!(ours, header.calc_checksum_ipv4_raw(one, two, &payload).unwrap());
            let (one, two) = ([0xfd; 16], [0x17; 16]);
            let pseudo = pseudo_header((one, 1).into(), (two, 1).into(), header.length);
            let ours = field(Checksum::Right, pseudo, &datagram);
            assert_eq!(ours, header.calc_checksum_ipv6_raw(one, two, &payload).unwrap());
        }
    }
}
