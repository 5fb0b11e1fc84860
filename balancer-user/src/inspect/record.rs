//! Data records with the names and types of their values.

use std::{collections::HashMap, fmt};

use common::{
    record::{DataRecord, split_value},
    template::{Kind, TemplateRecord, VARIABLE},
};

use super::{element::Element, value::Value};

/// What a template says of its records.
#[derive(Debug)]
pub struct Layout {
    /// Template id.
    pub id: u16,
    /// Flow data or options data.
    pub kind: Kind,
    /// How many of the fields are scope fields.
    pub scope_count: usize,
    /// The fields, in order.
    pub fields: Vec<Column>,
}

/// One field of a template.
#[derive(Debug)]
pub struct Column {
    /// Name and type.
    pub element: Element,
    /// Bytes in a record, or [`VARIABLE`].
    pub length: u16,
    /// Whether others have the same name.
    pub occurs: Occurs,
}

/// Its name, and its length in brackets.
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            VARIABLE => write!(f, "{}(variable)", self.element.name),
            length => write!(f, "{}({length})", self.element.name),
        }
    }
}

/// How often a name is in a template, up to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurs {
    /// This field alone has it.
    Once,
    /// This field has it first, others after it.
    First,
    /// A field before this one has it.
    Again,
}

impl Layout {
    /// The layout that `template` describes.
    pub fn of(template: &TemplateRecord<'_>) -> Layout {
        Layout {
            id: template.id,
            kind: template.kind,
            scope_count: usize::from(template.scope_count),
            fields: columns(template),
        }
    }
}

fn columns(template: &TemplateRecord<'_>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    let mut first = HashMap::new();
    for (index, field) in template.fields().enumerate() {
        let earlier = *first.entry((field.enterprise, field.element)).or_insert(index);
        let occurs = if earlier == index { Occurs::Once } else { Occurs::Again };
        columns.push(Column { element: Element::of(field), length: field.length, occurs });
        if let Some(earlier) = columns.get_mut(earlier).filter(|_| earlier != index) {
            earlier.occurs = Occurs::First;
        }
    }
    columns
}

/// One data record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What its values are.
    pub layout: &'a Layout,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record that was cut by the template of `layout`.
    pub fn new(layout: &'a Layout, record: DataRecord<'a>) -> Record<'a> {
        Record { layout, bytes: record.bytes }
    }

    /// Names and values, in the template's order.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut rest = self.bytes;
        self.layout.fields.iter().map_while(move |Column { element, length, .. }| {
            let octets;
            (octets, rest) = split_value(*length, rest)?;
            Some((&*element.name, Value::read(element.data_type, octets)))
        })
    }
}

#[cfg(test)]
mod tests {
    use common::record::DataRecords;

    use super::*;

    #[test]
    fn values_have_names_and_a_name_may_be_there_twice() {
        let bytes = [1, 0, 0, 3, 0, 7, 0, 2, 0, 82, 0xff, 0xff, 0, 7, 0, 1];
        let template = TemplateRecord::read(Kind::Data, &bytes).unwrap();
        let layout = Layout::of(&template);
        let occurs: Vec<_> = layout.fields.iter().map(|column| column.occurs).collect();
        assert_eq!(occurs, [Occurs::First, Occurs::Once, Occurs::Again]);
        let body = [1, 0, 2, b'e', b'0', 9];
        let record = DataRecords::of(&body, &template).next().unwrap().unwrap();
        let values: Vec<_> = Record::new(&layout, record)
            .values()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            values,
            ["sourceTransportPort=256", "interfaceName=e0", "sourceTransportPort=9"]
        );
    }
}
