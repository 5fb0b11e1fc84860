//! Text, JSON lines and CSV say the same.

use anyhow::{Context, Result};
use ipfix_balancer_tests::corpus;
use ipfix_balancer_tests::exporter::{Field, Message, Template};
use serde_json::{Value, json};

use crate::{objects, of_bytes};

/// A row of CSV with the names of its columns.
pub struct Row {
    /// Those before the fields.
    pub first: Vec<(String, String)>,
    /// Name and value of each field.
    pub fields: Vec<(String, String)>,
}

/// Columns that are there in every row.
const FIRST_COLUMNS: [&str; 4] = ["time", "exporter", "domain", "template"];

/// The rows of CSV; a row that begins like a header is one.
pub fn rows(text: &str) -> Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).flexible(true).from_reader(text.as_bytes());
    let (mut header, mut rows) = (Vec::new(), Vec::new());
    for cells in reader.records() {
        let cells: Vec<String> = cells?.iter().map(str::to_owned).collect();
        if cells.starts_with(&FIRST_COLUMNS.map(str::to_owned)) {
            header = cells;
            continue;
        }
        anyhow::ensure!(cells.len() == header.len(), "{cells:?} under {header:?}");
        let mut columns = header.iter().cloned().zip(cells);
        let first = columns.by_ref().take(FIRST_COLUMNS.len()).collect();
        rows.push(Row { first, fields: columns.collect() });
    }
    Ok(rows)
}

/// A value of JSON as CSV has it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The record of an object of JSON lines, with the fields of `row` in their order.
fn compare(object: &Value, row: &Row) -> Result<()> {
    let fields = object["fields"].as_object().context("no fields")?;
    for (name, cell) in &row.fields {
        let same = |value: &Value| match value {
            Value::Array(values) => values.iter().any(|value| plain(value) == *cell),
            value => plain(value) == *cell,
        };
        anyhow::ensure!(fields.get(name).is_some_and(same), "{name}: {cell} in {object}");
    }
    for (name, cell) in row.first.iter().filter(|(_, cell)| !cell.is_empty()) {
        anyhow::ensure!(plain(&object[name]) == *cell, "{name}: {cell} in {object}");
    }
    Ok(())
}

#[test]
fn json_and_csv_and_text_have_the_same_records() {
    for file in corpus::valid().unwrap() {
        let of = |format| of_bytes(&["--format", format], "a.ipfix", &file.stream()).unwrap();
        let (objects, rows) = (objects(&of("json")).unwrap(), rows(&of("csv")).unwrap());
        assert_eq!(objects.len(), rows.len(), "{}", file.path);
        for (object, row) in objects.iter().zip(&rows) {
            compare(object, row).context(file.path.clone()).unwrap();
        }
        let text = of("text");
        let records = text.lines().filter(|line| is_record(line)).count();
        assert_eq!(records, file.data_records, "{}", file.path);
    }
}

/// `  256: ...` or `  options 256: ...`.
fn is_record(line: &str) -> bool {
    let rest = line.strip_prefix("  ").unwrap_or("x");
    let id = rest.strip_prefix("options ").unwrap_or(rest).split(':').next().unwrap_or("");
    id.parse::<u16>().is_ok() && line.contains('=')
}

/// Interface name twice, an unknown element, and a basicList of two ports.
fn special() -> Result<Vec<u8>> {
    let fields = [
        Field::iana(82, 4),
        Field::iana(82, u16::MAX),
        Field::enterprise(43823, 6000, 2),
        Field::enterprise(43823, 2000, 8),
        Field::iana(291, u16::MAX),
    ];
    let template = Template::data(256, fields);
    let list = [3, 0, 7, 0, 2, 0, 80, 1, 187];
    let values: [&[u8]; 5] =
        [b"e\"0\0", b"a,b\x1b\n", &[0xab, 0xcd], &[0, 0, 0, 0, 0, 0, 0, 9], &list];
    let record = template.record(&values)?;
    let message =
        Message::new(7, 0).template(&template).data(&template, &[record]).export_time(90).build();
    Ok(message)
}

#[test]
fn repeated_names_unknown_elements_lists_and_odd_strings() {
    let json = of_bytes(&["--format", "json"], "a.ipfix", &special().unwrap()).unwrap();
    let fields = json!({
        "interfaceName": ["e\"0", "a,b\u{1b}\n"],
        "43823/6000": "abcd",
        "SESSION_ID": 9,
        "basicList": [80, 443],
    });
    let expected = json!({
        "time": "1970-01-01T00:01:30Z",
        "domain": 7,
        "template": 256,
        "options": false,
        "fields": fields,
    });
    assert_eq!(objects(&json).unwrap(), [expected]);

    let csv = of_bytes(&["--format", "csv"], "a.ipfix", &special().unwrap()).unwrap();
    let rows = rows(&csv).unwrap();
    let cells: Vec<&str> = rows[0].fields.iter().map(|(_, cell)| cell.as_str()).collect();
    assert_eq!(cells, ["e\"0", "a,b\u{1b}\n", "abcd", "9", "[80,443]"]);

    let text = of_bytes(&[], "a.ipfix", &special().unwrap()).unwrap();
    let record = text.lines().last().unwrap();
    assert_eq!(
        record,
        r#"  256: interfaceName="e\"0" interfaceName="a,b\u{1b}\n" 43823/6000=abcd SESSION_ID=9 basicList=[80,443]"#
    );
    assert!(text.contains("template 256: interfaceName(4) interfaceName(variable)"), "{text}");
}
