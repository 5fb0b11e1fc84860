//! Values by abstract data type (RFC 7011 section 6.1), and how they are written (RFC 7373).

use std::{
    borrow::Cow,
    fmt::{self, Write},
    net::IpAddr,
};

use common::{record::split_value, template::Field};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::element::{DataType, Element};

/// Seconds from 1900, where NTP timestamps begin, to 1970.
const NTP_TO_UNIX: i64 = 2_208_988_800;
const NANOSECONDS: u64 = 1_000_000_000;
/// Bits of the fraction that have no meaning in dateTimeMicroseconds (section 6.1.9).
const MICROSECONDS_NOISE: u64 = 0x7ff;

/// One value of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// IPv4 or IPv6 address.
    Address(IpAddr),
    /// True or false.
    Boolean(bool),
    /// `float32` or `float64`.
    Float(f64),
    /// The values of a basicList.
    List(Vec<Value<'a>>),
    /// MAC address.
    Mac([u8; 6]),
    /// Octets without a known meaning, or of a length that the type can't have.
    Octets(&'a [u8]),
    /// Signed integer.
    Signed(i64),
    /// String; what is no UTF-8 in it has become U+FFFD, and padding of zeros is gone.
    Text(Cow<'a, str>),
    /// Time, and the digits of its fraction of a second.
    Time(Timestamp, u8),
    /// Unsigned integer.
    Unsigned(u64),
}

impl<'a> Value<'a> {
    /// Reads `octets` as `data_type`. What can't be one is [`Value::Octets`].
    pub fn read(data_type: DataType, octets: &'a [u8]) -> Value<'a> {
        read(data_type, octets).unwrap_or(Value::Octets(octets))
    }
}

fn read(data_type: DataType, octets: &[u8]) -> Option<Value<'_>> {
    Some(match data_type {
        DataType::Address => Value::Address(address(octets)?),
        DataType::BasicList => Value::List(basic_list(octets)?),
        DataType::Boolean => Value::Boolean(boolean(octets)?),
        DataType::Float => Value::Float(float(octets)?),
        DataType::Mac => Value::Mac(octets.try_into().ok()?),
        DataType::Microseconds => Value::Time(ntp_time(octets, MICROSECONDS_NOISE)?, 6),
        DataType::Milliseconds => {
            let milliseconds = i64::try_from(unsigned(octets)?).ok()?;
            Value::Time(Timestamp::from_millisecond(milliseconds).ok()?, 3)
        }
        DataType::Nanoseconds => Value::Time(ntp_time(octets, 0)?, 9),
        DataType::Octets => Value::Octets(octets),
        DataType::Seconds => {
            let seconds = i64::try_from(unsigned(octets)?).ok()?;
            Value::Time(Timestamp::from_second(seconds).ok()?, 0)
        }
        DataType::Signed => Value::Signed(signed(octets)?),
        DataType::Text => Value::Text(text(octets)),
        DataType::Unsigned => Value::Unsigned(unsigned(octets)?),
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// 1 is true and 2 is false (section 6.1.5).
fn boolean(octets: &[u8]) -> Option<bool> {
    match octets {
        [1] => Some(true),
        [2] => Some(false),
        _ => None,
    }
}

fn float(octets: &[u8]) -> Option<f64> {
    match octets.len() {
        4 => octets.try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        8 => octets.try_into().ok().map(f64::from_be_bytes),
        _ => None,
    }
}

/// An integer, of its full length or a reduced one (section 6.2).
fn unsigned(octets: &[u8]) -> Option<u64> {
    let mut full = [0; 8];
    full.get_mut(8_usize.checked_sub(octets.len())?..)?.copy_from_slice(octets);
    (!octets.is_empty()).then_some(u64::from_be_bytes(full))
}

fn signed(octets: &[u8]) -> Option<i64> {
    let sign = if octets.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut full = [sign; 8];
    full.get_mut(8_usize.checked_sub(octets.len())?..)?.copy_from_slice(octets);
    Some(i64::from_be_bytes(full))
}

/// Seconds since 1900 and a fraction of 2^-32 seconds (sections 6.1.9 and 6.1.10).
fn ntp_time(octets: &[u8], noise: u64) -> Option<Timestamp> {
    let time = u64::from_be_bytes(octets.try_into().ok()?);
    let seconds = i64::try_from(time >> 32).ok()? - NTP_TO_UNIX;
    let fraction = time & u64::from(u32::MAX) & !noise;
    let nanoseconds = i32::try_from((fraction * NANOSECONDS) >> 32).ok()?;
    Timestamp::new(seconds, nanoseconds).ok()
}

fn text(octets: &[u8]) -> Cow<'_, str> {
    let end = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(octets.get(..end).unwrap_or_default())
}

/// Semantic, field specifier, then values of this one element (RFC 6313 section 4.5.1). A list of
/// lists is left as it is.
fn basic_list(octets: &[u8]) -> Option<Vec<Value<'_>>> {
    let (_semantic, specifier) = octets.split_first()?;
    let (field, mut rest) = Field::read(specifier)?;
    let data_type = match Element::of(field).data_type {
        DataType::BasicList => return None,
        simple => simple,
    };
    let mut values = Vec::new();
    if field.length == 0 {
        return None;
    }
    while !rest.is_empty() {
        let octets;
        (octets, rest) = split_value(field.length, rest)?;
        values.push(Value::read(data_type, octets));
    }
    Some(values)
}

/// As in RFC 7373; a list in brackets.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Address(address) => address.fmt(f),
            Value::Boolean(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::List(values) => list(values, f),
            Value::Mac([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Value::Octets(octets) => octets.iter().try_for_each(|octet| write!(f, "{octet:02x}")),
            Value::Signed(value) => value.fmt(f),
            Value::Text(text) => text.fmt(f),
            Value::Time(time, digits) => write!(f, "{time:.*}", usize::from(*digits)),
            Value::Unsigned(value) => value.fmt(f),
        }
    }
}

fn list(values: &[Value<'_>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('[')?;
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{value}")?;
    }
    f.write_char(']')
}

/// Numbers, booleans and lists as such, everything else as a string.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::List(values) => values.serialize(serializer),
            Value::Signed(value) => serializer.serialize_i64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            other => serializer.collect_str(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data_type: DataType, octets: &[u8]) -> String {
        Value::read(data_type, octets).to_string()
    }

    fn json(data_type: DataType, octets: &[u8]) -> String {
        serde_json::to_string(&Value::read(data_type, octets)).unwrap()
    }

    #[test]
    fn integers_of_full_and_reduced_length() {
        assert_eq!(shown(DataType::Unsigned, &[0xff; 8]), u64::MAX.to_string());
        assert_eq!(shown(DataType::Unsigned, &[1, 0, 0]), "65536");
        assert_eq!(shown(DataType::Signed, &[0xff, 0xfe]), "-2");
        assert_eq!(shown(DataType::Signed, &[0x7f]), "127");
        assert_eq!(json(DataType::Unsigned, &[0xff; 8]), u64::MAX.to_string());
    }

    #[test]
    fn lengths_that_a_type_cannot_have_are_shown_as_octets() {
        assert_eq!(shown(DataType::Unsigned, &[1; 9]), "010101010101010101");
        assert_eq!(shown(DataType::Unsigned, &[]), "");
        assert_eq!(shown(DataType::Address, &[1, 2, 3]), "010203");
        assert_eq!(shown(DataType::Boolean, &[3]), "03");
        assert_eq!(shown(DataType::Mac, &[1]), "01");
        assert_eq!(shown(DataType::Microseconds, &[1]), "01");
        assert_eq!(shown(DataType::Milliseconds, &[0xff; 8]), "ff".repeat(8));
    }

    #[test]
    fn addresses_booleans_and_floats() {
        assert_eq!(shown(DataType::Address, &[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(shown(DataType::Address, &[0; 16]), "::");
        assert_eq!(shown(DataType::Mac, &[0, 1, 2, 0xab, 4, 5]), "00:01:02:ab:04:05");
        assert_eq!(json(DataType::Boolean, &[2]), "false");
        assert_eq!(json(DataType::Float, &1.5_f32.to_be_bytes()), "1.5");
        assert_eq!(json(DataType::Float, &f64::NAN.to_be_bytes()), "\"NaN\"");
    }

    #[test]
    fn times_to_the_precision_of_their_type() {
        let second = 1_700_000_000_u32.to_be_bytes();
        assert_eq!(shown(DataType::Seconds, &second), "2023-11-14T22:13:20Z");
        let milliseconds = 1_700_000_000_120_u64.to_be_bytes();
        assert_eq!(shown(DataType::Milliseconds, &milliseconds), "2023-11-14T22:13:20.120Z");
        let half = [&3_908_988_800_u32.to_be_bytes()[..], &[0x80, 0, 0, 0]].concat();
        assert_eq!(shown(DataType::Microseconds, &half), "2023-11-14T22:13:20.500000Z");
        assert_eq!(shown(DataType::Nanoseconds, &half), "2023-11-14T22:13:20.500000000Z");
    }

    #[test]
    fn strings_lose_padding_and_what_is_no_utf_8() {
        assert_eq!(shown(DataType::Text, b"eth0\0\0\0\0"), "eth0");
        assert_eq!(shown(DataType::Text, b"\xffx"), "\u{fffd}x");
        assert_eq!(shown(DataType::Text, b"\0"), "");
    }

    #[test]
    fn lists_of_simple_elements_are_read() {
        let fixed = [3, 0, 8, 0, 4, 10, 0, 0, 1, 10, 0, 0, 2];
        assert_eq!(shown(DataType::BasicList, &fixed), "[10.0.0.1,10.0.0.2]");
        let variable = [3, 0, 82, 0xff, 0xff, 2, b'e', b'0', 0];
        assert_eq!(json(DataType::BasicList, &variable), r#"["e0",""]"#);
        assert_eq!(shown(DataType::BasicList, &[3, 0, 8, 0, 4]), "[]");
        for not in [&[][..], &[3, 0, 8, 0, 4, 1], &[3, 0, 8, 0, 0, 1], &[3, 1, 35, 0, 1, 3]] {
            assert!(matches!(Value::read(DataType::BasicList, not), Value::Octets(_)), "{not:?}");
        }
    }
}
