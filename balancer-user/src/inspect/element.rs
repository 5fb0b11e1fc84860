//! Names and types of information elements: IANA's registry, and what enterprises have published.
//!
//! The tables are data, in files beside this one: element id, name, abstract data type.
//! `iana.csv` holds these three columns of IANA's registry as of 2026-07-22; to renew it, take
//! <https://www.iana.org/assignments/ipfix/ipfix-information-elements.csv> and keep them:
//!
//! ```sh
//! python3 -c 'import csv, sys
//! for row in csv.reader(sys.stdin):
//!     if row[2]: print(*("".join(cell.split()) for cell in row[:3]), sep=",")' \
//!     < ipfix-information-elements.csv | sed '1s/.*/ElementID,Name,Abstract Data Type/'
//! ```
//!
//! `vas_experts.csv` holds what VAS Experts documents for number 43823 (<https://wiki.vasexperts.com>:
//! export of clickstream, of full NetFlow, and of accounting data in the IPFIX format).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use common::template::Field;

/// Enterprise number of IANA's own elements.
const IANA: u32 = 0;
/// Enterprise number of elements that count the other direction (RFC 5103 section 6.1).
const REVERSE: u32 = 29305;
/// Enterprise number of VAS Experts.
const VAS_EXPERTS: u32 = 43823;

const TABLES: [(u32, &str); 2] =
    [(IANA, include_str!("iana.csv")), (VAS_EXPERTS, include_str!("vas_experts.csv"))];

/// Abstract data types (RFC 7012 section 3.1), as far as they are read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `ipv4Address`, `ipv6Address`; the length tells which.
    Address,
    /// `basicList` (RFC 6313).
    BasicList,
    /// `boolean`.
    Boolean,
    /// `float32`, `float64`.
    Float,
    /// `macAddress`.
    Mac,
    /// `dateTimeMicroseconds`.
    Microseconds,
    /// `dateTimeMilliseconds`.
    Milliseconds,
    /// `dateTimeNanoseconds`.
    Nanoseconds,
    /// `octetArray`, and what is not known or not read further.
    Octets,
    /// `dateTimeSeconds`.
    Seconds,
    /// `signed8` to `signed64`.
    Signed,
    /// `string`.
    Text,
    /// `unsigned8` to `unsigned64`.
    Unsigned,
}

impl DataType {
    fn named(name: &str) -> Option<DataType> {
        Some(match name {
            // An id that IPv4 and IPv6 templates share.
            "ipv4Address" | "ipv6Address" | "ipAddress" => DataType::Address,
            "basicList" => DataType::BasicList,
            "boolean" => DataType::Boolean,
            "float32" | "float64" => DataType::Float,
            "macAddress" => DataType::Mac,
            "dateTimeMicroseconds" => DataType::Microseconds,
            "dateTimeMilliseconds" => DataType::Milliseconds,
            "dateTimeNanoseconds" => DataType::Nanoseconds,
            "octetArray" | "subTemplateList" | "subTemplateMultiList" | "unsigned256" => {
                DataType::Octets
            }
            "dateTimeSeconds" => DataType::Seconds,
            "signed8" | "signed16" | "signed32" | "signed64" => DataType::Signed,
            "string" => DataType::Text,
            "unsigned8" | "unsigned16" | "unsigned32" | "unsigned64" => DataType::Unsigned,
            _ => return None,
        })
    }
}

/// An information element, as people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its name, or `ENTERPRISE/ID` where nobody has published one.
    pub name: Cow<'static, str>,
    /// How its values are read.
    pub data_type: DataType,
}

impl Element {
    /// The element of a template's field.
    pub fn of(field: Field) -> Element {
        if let Some((name, data_type)) = known(field.enterprise, field.element) {
            return Element { name: name.into(), data_type };
        }
        if field.enterprise == REVERSE
            && let Some((name, data_type)) = known(IANA, field.element)
        {
            return Element { name: reverse(name).into(), data_type };
        }
        let name = format!("{}/{}", field.enterprise, field.element);
        Element { name: name.into(), data_type: DataType::Octets }
    }
}

/// The name of the other direction's element (RFC 5103 section 6.1).
fn reverse(name: &str) -> String {
    let mut rest = name.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    "reverse".chars().chain(first).chain(rest).collect()
}

/// Enterprise number and element id.
type Id = (u32, u16);
/// Name and type.
type Entry = (&'static str, DataType);

fn known(enterprise: u32, element: u16) -> Option<Entry> {
    static ELEMENTS: LazyLock<HashMap<Id, Entry>> =
        LazyLock::new(|| TABLES.into_iter().flat_map(rows).collect());
    ELEMENTS.get(&(enterprise, element)).copied()
}

fn rows((enterprise, table): (u32, &'static str)) -> impl Iterator<Item = (Id, Entry)> {
    table.lines().skip(1).filter_map(move |line| row(enterprise, line))
}

fn row(enterprise: u32, line: &'static str) -> Option<(Id, Entry)> {
    let (id, rest) = line.split_once(',')?;
    let (name, data_type) = rest.split_once(',')?;
    Some(((enterprise, id.parse().ok()?), (name, DataType::named(data_type)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(enterprise: u32, element: u16) -> Element {
        Element::of(Field { element, length: 4, enterprise })
    }

    #[test]
    fn every_row_of_the_tables_is_read_and_no_id_is_there_twice() {
        for (enterprise, table) in TABLES {
            let read: Vec<_> = rows((enterprise, table)).map(|(id, _)| id).collect();
            assert_eq!(read.len(), table.lines().count() - 1, "{enterprise}");
            assert!(read.is_sorted_by(|a, b| a < b), "{enterprise}");
        }
    }

    #[test]
    fn names_of_iana_of_an_enterprise_reversed_and_unknown() {
        assert_eq!(element(0, 8).name, "sourceIPv4Address");
        assert_eq!(element(0, 8).data_type, DataType::Address);
        assert_eq!(element(VAS_EXPERTS, 2000).name, "SESSION_ID");
        assert_eq!(element(REVERSE, 1).name, "reverseOctetDeltaCount");
        assert_eq!(element(REVERSE, 1).data_type, DataType::Unsigned);
        let unknown = element(VAS_EXPERTS, 9999);
        assert_eq!((&*unknown.name, unknown.data_type), ("43823/9999", DataType::Octets));
        assert_eq!(element(0, 32_000).name, "0/32000");
    }
}
