//! The record that a dump file opens with: whose session it holds (RFC 5655 section 8.1.3).

use std::net::{IpAddr, SocketAddr};

use crate::config::Protocol;

// Information elements of the record.
const EXPORTER_IPV4_ADDRESS: u16 = 130;
const EXPORTER_IPV6_ADDRESS: u16 = 131;
const OBSERVATION_POINT_ID: u16 = 138;
const COLLECTOR_IPV4_ADDRESS: u16 = 211;
const COLLECTOR_IPV6_ADDRESS: u16 = 212;
const EXPORT_PROTOCOL_VERSION: u16 = 214;
const EXPORT_TRANSPORT_PROTOCOL: u16 = 215;
const COLLECTOR_TRANSPORT_PORT: u16 = 216;
const EXPORTER_TRANSPORT_PORT: u16 = 217;
const SESSION_SCOPE: u16 = 267;

/// Version number of IPFIX.
const IPFIX: u8 = 10;

/// One exporter session, as a dump file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionDetails {
    /// Who exports.
    pub exporter: SocketAddr,
    /// Our end of the session.
    pub collector: SocketAddr,
    /// Their transport protocol.
    pub protocol: Protocol,
    /// `DPI_ID`.
    pub dpi_id: u32,
}

impl SessionDetails {
    /// The options template record, with this id.
    pub fn template(&self, id: u16) -> Vec<u8> {
        let fields = self.fields();
        let count = u16::try_from(fields.len()).unwrap_or_default();
        // One of the fields is the scope.
        let mut record: Vec<u8> = [id, count, 1].into_iter().flat_map(u16::to_be_bytes).collect();
        for (element, value) in &fields {
            let length = u16::try_from(value.len()).unwrap_or_default();
            record.extend(element.to_be_bytes().into_iter().chain(length.to_be_bytes()));
        }
        record
    }

    /// The options data record.
    pub fn record(&self) -> Vec<u8> {
        self.fields().into_iter().flat_map(|(_, value)| value).collect()
    }

    fn fields(&self) -> [(u16, Vec<u8>); 8] {
        let protocol = match self.protocol {
            Protocol::Tcp => libc::IPPROTO_TCP,
            Protocol::Udp => libc::IPPROTO_UDP,
        };
        let protocol = u8::try_from(protocol).unwrap_or_default();
        [
            // A mark without a value: the record speaks of the session as a whole.
            (SESSION_SCOPE, vec![0]),
            address(self.exporter.ip(), EXPORTER_IPV4_ADDRESS, EXPORTER_IPV6_ADDRESS),
            (EXPORTER_TRANSPORT_PORT, self.exporter.port().to_be_bytes().to_vec()),
            address(self.collector.ip(), COLLECTOR_IPV4_ADDRESS, COLLECTOR_IPV6_ADDRESS),
            (COLLECTOR_TRANSPORT_PORT, self.collector.port().to_be_bytes().to_vec()),
            (EXPORT_TRANSPORT_PROTOCOL, vec![protocol]),
            (EXPORT_PROTOCOL_VERSION, vec![IPFIX]),
            // 64 bits wide today, 32 at first: four bytes are right by both (reduced size, RFC
            // 7011 section 6.2).
            (OBSERVATION_POINT_ID, self.dpi_id.to_be_bytes().to_vec()),
        ]
    }
}

fn address(ip: IpAddr, v4: u16, v6: u16) -> (u16, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (v4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (v6, ip.octets().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use common::template::{Kind, TemplateRecord};

    use super::*;

    #[test]
    fn template_and_record_agree() {
        for exporter in ["192.0.2.1:40000", "[2001:db8::1]:40000"] {
            let details = SessionDetails {
                exporter: exporter.parse().unwrap(),
                collector: "127.0.0.1:1500".parse().unwrap(),
                protocol: Protocol::Tcp,
                dpi_id: 7,
            };
            let template = details.template(65_535);
            let template = TemplateRecord::read(Kind::Options, &template).unwrap();
            assert_eq!((template.id, template.scope_count), (65_535, 1));
            let length: u16 = template.fields().map(|field| field.length).sum();
            assert_eq!(usize::from(length), details.record().len());
            assert_eq!(template.fields().last().unwrap().element, OBSERVATION_POINT_ID);
            assert!(details.record().ends_with(&[0, 0, 0, 7]));
        }
    }
}
