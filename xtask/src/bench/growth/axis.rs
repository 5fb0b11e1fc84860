//! The axes: what grows, how far, and what stays.

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};

use crate::bench::case::Route;
use crate::bench::{Mode, Protocol};

/// Descriptors of the balancer that are neither an exporter's nor a destination's.
const OWN_FILES: u64 = 32;

/// What changes along an axis.
#[derive(Clone, Copy, Debug)]
enum Number {
    Destinations,
    Exporters,
    Templates,
    Receivers,
}

/// One number that grows.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub name: &'static str,
    /// What the values count.
    pub unit: &'static str,
    pub values: &'static [u16],
    pub series: &'static [Series],
    number: Number,
}

/// What the axis is measured for.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    pub name: &'static str,
    protocol: Protocol,
    mode: Mode,
}

/// The axes.
pub const AXES: [Axis; 4] = [
    Axis {
        name: "growth-destinations",
        unit: "destinations",
        values: &[1, 2, 4, 8, 16],
        series: &[UDP_ROUND_ROBIN, TCP_ROUND_ROBIN, UDP_ALL, TCP_ALL],
        number: Number::Destinations,
    },
    Axis {
        name: "growth-exporters",
        unit: "exporters",
        values: &[1, 10, 100, 1000, 10_000],
        series: &[UDP_ROUND_ROBIN, TCP_ROUND_ROBIN],
        number: Number::Exporters,
    },
    Axis {
        name: "growth-templates",
        unit: "templates",
        values: &[1, 10, 100, 1000],
        series: &[UDP_ROUND_ROBIN, TCP_ROUND_ROBIN],
        number: Number::Templates,
    },
    Axis {
        name: "growth-receivers",
        unit: "receivers",
        values: &[1, 2, 4, 8],
        series: &[UDP_ROUND_ROBIN, TCP_ROUND_ROBIN],
        number: Number::Receivers,
    },
];

const UDP_ROUND_ROBIN: Series = series("UDP RoundRobin", Protocol::Udp, Mode::RoundRobin);
const TCP_ROUND_ROBIN: Series = series("TCP RoundRobin", Protocol::Tcp, Mode::RoundRobin);
const UDP_ALL: Series = series("UDP All", Protocol::Udp, Mode::All);
const TCP_ALL: Series = series("TCP All", Protocol::Tcp, Mode::All);

const fn series(name: &'static str, protocol: Protocol, mode: Mode) -> Series {
    Series { name, protocol, mode }
}

impl Axis {
    /// The route at a value of the axis, and that value: it is less where the open files do not
    /// suffice.
    pub fn route(&self, series: &Series, value: u16) -> Result<(u32, Route)> {
        let base = Route::base(series.protocol, series.protocol, series.mode);
        let count = u32::from(value);
        Ok(match self.number {
            Number::Destinations => (count, Route { destinations: count, ..base }),
            Number::Exporters => {
                // Each session takes a port for each destination over UDP: on one host, with the
                // exporters' own ports, there are not enough for two.
                let exporters = count.min(most_exporters(series.protocol)?);
                (exporters, Route { destinations: 1, exporters, ..base })
            }
            Number::Templates => (count, Route { templates: value, ..base }),
            // At each point as many exporters as at the last, where each receiver has one.
            Number::Receivers => {
                let exporters = self.values.iter().copied().max().unwrap_or(value).into();
                (count, Route { receivers: count, exporters, ..base })
            }
        })
    }
}

/// Exporters that the balancer has descriptors for: one towards the destination, and over TCP one
/// towards the exporter.
fn most_exporters(protocol: Protocol) -> Result<u32> {
    let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let each = 1 + u64::from(protocol == Protocol::Tcp);
    Ok(u32::try_from(files.saturating_sub(OWN_FILES) / each).unwrap_or(u32::MAX))
}
