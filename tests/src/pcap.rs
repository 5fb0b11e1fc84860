//! Capture files: read the corpus's, write what a collector got for `tshark` to decode.

use anyhow::{Context, Result, bail};

const MAGIC: u32 = 0xa1b2_c3d4;
const LINK_ETHERNET: u32 = 1;
const LINK_RAW_IP: u32 = 101;
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET: usize = 14;
const IPV6: usize = 40;
const UDP: usize = 8;

/// The UDP payloads of a capture, in order. Ethernet, little-endian, no IP options or extension
/// headers: what the corpus has, and anything else is an error rather than a guess.
pub fn udp_payloads(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let le = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
    };
    if le(0) != Some(MAGIC) || le(20) != Some(LINK_ETHERNET) {
        bail!("not a little-endian Ethernet capture");
    }
    let mut payloads = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let captured = usize::try_from(le(at + 8).context("cut packet header")?)?;
        let start = at + PACKET_HEADER;
        let packet = file.get(start..start + captured).context("cut packet")?;
        payloads.push(udp_payload(packet).with_context(|| format!("packet at {at}"))?.to_vec());
        at = start + captured;
    }
    Ok(payloads)
}

fn udp_payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(ETHERNET..)?;
    let udp = match crate::wire::u16_at(frame, 12)? {
        0x0800 if *ip.first()? == 0x45 && *ip.get(9)? == 17 => ip.get(20..)?,
        0x86dd if *ip.get(6)? == 17 => ip.get(IPV6..)?,
        _ => return None,
    };
    udp.get(UDP..usize::from(crate::wire::u16_at(udp, 4)?))
}

/// A capture that holds each of `payloads` as one UDP datagram to `port` (IPv6, one second
/// apart), from source port `port + 1`.
pub fn from_udp_payloads(payloads: &[Vec<u8>], port: u16) -> Result<Vec<u8>> {
    let packets =
        payloads.iter().map(|payload| ipv6_udp(payload, port)).collect::<Result<Vec<_>>>();
    from_packets(LINK_RAW_IP, &packets?)
}

/// A capture of Ethernet frames, one second apart.
pub fn from_frames(frames: &[Vec<u8>]) -> Result<Vec<u8>> {
    from_packets(LINK_ETHERNET, frames)
}

fn from_packets(link: u32, packets: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    for word in [MAGIC, 0x0004_0002, 0, 0, 262_144, link] {
        file.extend(word.to_le_bytes());
    }
    for (second, packet) in (1_u32..).zip(packets) {
        let length = u32::try_from(packet.len())?;
        for word in [second, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    Ok(file)
}

/// The checksum stays 0: `tshark` decodes the payload all the same.
fn ipv6_udp(payload: &[u8], port: u16) -> Result<Vec<u8>> {
    let length = u16::try_from(UDP + payload.len()).context("longer than a datagram")?;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([17, 64]);
    for _ in 0..2 {
        packet.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    }
    for field in [port.wrapping_add(1), port, length, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(payload);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_capture_is_refused() {
        assert!(udp_payloads(b"no capture at all, but long enough").is_err());
    }

    #[test]
    fn a_written_packet_holds_its_payload() {
        let file = from_udp_payloads(&[vec![1, 2, 3]], 4739).unwrap();
        assert_eq!(file.len(), FILE_HEADER + PACKET_HEADER + IPV6 + UDP + 3);
        assert_eq!(&file[file.len() - 3..], [1, 2, 3]);
    }

    #[test]
    fn a_payload_longer_than_a_datagram_is_refused() {
        assert!(from_udp_payloads(&[vec![0; 65_535]], 4739).is_err());
    }
}
