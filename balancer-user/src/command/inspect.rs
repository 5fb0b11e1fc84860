//! `ipfix-balancer inspect`: files for people and programs to read.

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::Timestamp;

use super::complain;
use crate::{
    config::Stream,
    inspect::{Csv, Filter, Form, Inspection, Json, Output, Report, Stop, Summary, Text},
};

/// Bytes of output that are written at once.
const OUTPUT_BUFFER: usize = 64 << 10;

/// What `inspect` takes.
#[derive(Debug, Args)]
pub struct Inspect {
    /// How records are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Only of this stream: a word of a dump file's name, or else the collector's port.
    #[arg(long, value_parser = streams(), ignore_case = true)]
    stream: Option<Stream>,
    /// Only this template and its records.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(256..))]
    template: Option<u16>,
    /// Only what was exported at this time or later (RFC 3339: 2026-11-23T12:00:00Z).
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what was exported before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Counts, templates, exporters and sequence gaps of each file instead of its records.
    #[arg(long)]
    summary: bool,
    /// IPFIX Files, dump files (also compressed, or still being written), pcap or pcapng; - is
    /// standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// An object for each record, on a line of its own.
    Json,
    /// A row for each record, and a header row wherever the columns change.
    Csv,
}

pub(super) fn streams() -> impl TypedValueParser<Value = Stream> {
    PossibleValuesParser::new(Stream::ALL.map(|stream| stream.info().name))
        .try_map(|name| name.to_ascii_uppercase().parse::<Stream>())
}

pub fn inspect(arguments: &Inspect) -> ExitCode {
    if arguments.summary && arguments.format == Format::Csv {
        complain(&"a summary has no CSV form: take --format text or json");
        return ExitCode::from(super::EXIT_CONFIGURATION);
    }
    match try_inspect(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader that has gone away (`| head`) is no fault of ours.
        Err(Stop(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(stop) => {
            complain(&stop);
            ExitCode::FAILURE
        }
    }
}

/// Whether all of every file could be read.
fn try_inspect(arguments: &Inspect) -> Result<bool, Stop> {
    let Inspect { stream, template, from, to, .. } = *arguments;
    let filter = Filter { stream, template, from, to };
    let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    let mut inspection = Inspection::new(filter, output(arguments, out), Report::new(io::stderr()));
    for file in &arguments.files {
        inspection.file(file)?;
    }
    inspection.finish()
}

fn output<'a>(arguments: &Inspect, out: impl Write + 'a) -> Box<dyn Output + 'a> {
    match (arguments.summary, arguments.format) {
        (true, Format::Json) => Box::new(Summary::new(out, Form::Json)),
        (true, _) => Box::new(Summary::new(out, Form::Text)),
        (false, Format::Text) => Box::new(Text::new(out)),
        (false, Format::Json) => Box::new(Json::new(out)),
        (false, Format::Csv) => Box::new(Csv::new(out)),
    }
}
