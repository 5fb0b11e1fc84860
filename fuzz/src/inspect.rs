//! `inspect`: whatever a file holds, every form of output is written without a panic, and says the
//! same however the bytes come.
//! Input: the file.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;

use balancer_user::inspect::{Csv, Filter, Form, Inspection, Json, Output, Report, Summary, Text};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Runs one input.
pub fn run(input: &[u8]) {
    for form in [text, json, csv, summary, summary_json] {
        let whole = inspected(input, input.len().max(1), form);
        let pieces = inspected(input, 3, form);
        // How much comes out of a broken frame is up to the library, and to how it is fed.
        assert!(whole == pieces || input.starts_with(&ZSTD_MAGIC));
    }
}

/// What is shown and said of the input that comes in pieces of this length, and whether it was
/// without fault.
fn inspected(input: &[u8], step: usize, form: fn(Shared) -> Box<dyn Output>) -> (Vec<u8>, bool) {
    let out = Shared::default();
    let report = Report::new(out.clone());
    let mut inspection = Inspection::new(Filter::default(), form(out.clone()), report);
    inspection.input(Path::new("input"), Pieces { input, step }).expect("memory takes everything");
    let clean = inspection.finish().expect("memory takes everything");
    (out.0.take(), clean)
}

fn text(out: Shared) -> Box<dyn Output> {
    Box::new(Text::new(out))
}

fn json(out: Shared) -> Box<dyn Output> {
    Box::new(Json::new(out))
}

fn csv(out: Shared) -> Box<dyn Output> {
    Box::new(Csv::new(out))
}

fn summary(out: Shared) -> Box<dyn Output> {
    Box::new(Summary::new(out, Form::Text))
}

fn summary_json(out: Shared) -> Box<dyn Output> {
    Box::new(Summary::new(out, Form::Json))
}

struct Pieces<'a> {
    input: &'a [u8],
    step: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(buffer.len());
        self.input.read(&mut buffer[..length])
    }
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
