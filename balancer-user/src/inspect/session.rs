//! Who sent to whom: what a file, its name and its capture tell of an exporter session.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use common::template::Kind;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{record::Record, source::Flow, value::Value};
use crate::config::{Protocol, Stream};

const TCP: u64 = 6;
const UDP: u64 = 17;

/// Who sent to whom, as far as the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// TCP or UDP.
    pub protocol: Option<Protocol>,
    /// The exporter's address and port.
    pub exporter: Option<SocketAddr>,
    /// The collector's address and port: those of the balancer's receiver in a dump file.
    pub collector: Option<SocketAddr>,
    /// The stream that the file's name says, or the collector's port.
    pub stream: Option<Stream>,
    /// The `DPI_ID` that a dump file says.
    pub dpi_id: Option<u64>,
}

impl Session {
    /// What the file's name and the capture say.
    pub fn new(flow: Option<&Flow>, file: &Path) -> Session {
        let named = stream_of_name(file);
        match flow {
            None => Session { stream: named, ..Session::default() },
            Some(Flow { protocol, exporter, collector }) => Session {
                protocol: Some(*protocol),
                exporter: Some(*exporter),
                collector: Some(*collector),
                stream: named.or_else(|| stream_of_port(collector.port())),
                dpi_id: None,
            },
        }
    }

    /// Takes what the options record of a dump file says that names its session (RFC 5655 section
    /// 8.1.3), if `record` is the one.
    pub fn learn(&mut self, record: &Record<'_>) {
        if record.layout.kind != Kind::Options || self.exporter.is_some() {
            return;
        }
        let mut said = Said::default();
        record.values().for_each(|(name, value)| said.take(name, &value));
        self.exporter = said.exporter.zip(said.exporter_port).map(SocketAddr::from);
        if self.exporter.is_some() {
            self.protocol = said.protocol;
            self.collector = said.collector.zip(said.collector_port).map(SocketAddr::from);
            self.dpi_id = said.dpi_id;
        }
    }
}

/// What is known, in one line.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { protocol, exporter, collector, stream, dpi_id } = self;
        let parts = [
            protocol.map(|protocol| protocol.to_string()),
            exporter.map(|exporter| exporter.to_string()),
            collector.map(|collector| format!("to {collector}")),
            stream.map(|stream| stream.to_string()),
            dpi_id.map(|id| format!("DPI_ID {id}")),
        ];
        let known: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&known.join(" "))
    }
}

/// What is known, by name; what is not known is not there.
impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Session { protocol, exporter, collector, stream, dpi_id } = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(protocol) = protocol {
            map.serialize_entry("protocol", protocol.name())?;
        }
        if let Some(exporter) = exporter {
            map.serialize_entry("exporter", exporter)?;
        }
        if let Some(collector) = collector {
            map.serialize_entry("collector", collector)?;
        }
        if let Some(stream) = stream {
            map.serialize_entry("stream", stream.info().name)?;
        }
        if let Some(dpi_id) = dpi_id {
            map.serialize_entry("dpi_id", dpi_id)?;
        }
        map.end()
    }
}

/// The stream that is a word of a dump file's name.
fn stream_of_name(file: &Path) -> Option<Stream> {
    let name = file.file_name()?.to_str()?;
    let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.find_map(|word| word.to_ascii_uppercase().parse().ok())
}

/// The stream whose default port this is.
fn stream_of_port(port: u16) -> Option<Stream> {
    Stream::ALL.into_iter().find(|stream| stream.info().port == Some(port))
}

/// The values of the record that names a session. Addresses of the other IP version are there too
/// in some files, as zeros.
#[derive(Default)]
struct Said {
    protocol: Option<Protocol>,
    exporter: Option<IpAddr>,
    exporter_port: Option<u16>,
    collector: Option<IpAddr>,
    collector_port: Option<u16>,
    dpi_id: Option<u64>,
}

impl Said {
    fn take(&mut self, name: &str, value: &Value<'_>) {
        match (name, value) {
            ("exporterIPv4Address" | "exporterIPv6Address", Value::Address(address))
                if !address.is_unspecified() =>
            {
                self.exporter = Some(*address);
            }
            ("collectorIPv4Address" | "collectorIPv6Address", Value::Address(address))
                if !address.is_unspecified() =>
            {
                self.collector = Some(*address);
            }
            ("exporterTransportPort", Value::Unsigned(port)) => {
                self.exporter_port = u16::try_from(*port).ok();
            }
            ("collectorTransportPort", Value::Unsigned(port)) => {
                self.collector_port = u16::try_from(*port).ok();
            }
            ("exportTransportProtocol", Value::Unsigned(TCP)) => {
                self.protocol = Some(Protocol::Tcp);
            }
            ("exportTransportProtocol", Value::Unsigned(UDP)) => {
                self.protocol = Some(Protocol::Udp);
            }
            ("observationPointId", Value::Unsigned(id)) => self.dpi_id = Some(*id),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_word_of_the_file_name_or_a_known_port() {
        let stream = |name: &str| stream_of_name(Path::new(name));
        assert_eq!(stream("/a/20261123-1200_fullflow_0.ipfix.zst"), Some(Stream::Fullflow));
        assert_eq!(stream("CLICKSTREAM-1.part"), Some(Stream::Clickstream));
        assert_eq!(stream("/fullflow/x.ipfix"), None);
        assert_eq!(stream("fullflows.ipfix"), None);
        assert_eq!(stream_of_port(1501), Some(Stream::Clickstream));
        assert_eq!(stream_of_port(80), None);
    }
}
