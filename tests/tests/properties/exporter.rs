//! What an exporter may do, and the messages that come of it.

use ipfix_balancer_tests::{
    exporter::{Field, Message, Template},
    wire::VARIABLE,
};
use proptest::prelude::*;

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub enum Event {
    /// Flow data.
    Flow { domain: usize, template: usize, records: usize },
    /// A message that never arrives here.
    LostFlow { domain: usize, records: usize },
    /// Templates, options data and flow data in one message.
    Mixed { domain: usize, template: usize, records: usize, options: usize },
    /// Options data.
    Options { domain: usize, records: usize, scope: u32 },
    /// All templates again.
    Templates { domain: usize },
    /// Another definition under the same id; over TCP after a withdrawal.
    Redefine { domain: usize, template: usize },
    /// A withdrawal, over TCP.
    Withdraw { domain: usize, template: usize },
    /// A message without sets.
    Empty { domain: usize },
    /// A destination's connection breaks.
    Break { destination: usize },
    /// A destination is back, with nothing remembered.
    Return { destination: usize },
    /// A destination takes nothing for now: its queue grows.
    Stall { destination: usize },
    /// It goes on.
    Resume { destination: usize },
    /// The daemon is replaced: in order, or killed.
    Restart { in_order: bool },
}

/// Domains of the exporter.
pub const DOMAINS: usize = 2;
/// Data templates of a domain; one options template comes beside them.
pub const TEMPLATES: usize = 2;

pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let domain = 0..DOMAINS;
    let template = 0..TEMPLATES;
    let destination = 0_usize..5;
    let event = prop_oneof![
        12 => (domain.clone(), template.clone(), 1_usize..6)
            .prop_map(|(domain, template, records)| Event::Flow { domain, template, records }),
        1 => (domain.clone(), 1_usize..6)
            .prop_map(|(domain, records)| Event::LostFlow { domain, records }),
        2 => (domain.clone(), template.clone(), 1_usize..4, 1_usize..3).prop_map(
            |(domain, template, records, options)|
                Event::Mixed { domain, template, records, options }),
        2 => (domain.clone(), 1_usize..4, 0_u32..4)
            .prop_map(|(domain, records, scope)| Event::Options { domain, records, scope }),
        1 => domain.clone().prop_map(|domain| Event::Templates { domain }),
        2 => (domain.clone(), template.clone())
            .prop_map(|(domain, template)| Event::Redefine { domain, template }),
        1 => (domain.clone(), template).prop_map(
            |(domain, template)| Event::Withdraw { domain, template }),
        1 => domain.prop_map(|domain| Event::Empty { domain }),
        2 => destination.clone().prop_map(|destination| Event::Break { destination }),
        3 => destination.clone().prop_map(|destination| Event::Return { destination }),
        1 => destination.clone().prop_map(|destination| Event::Stall { destination }),
        2 => destination.prop_map(|destination| Event::Resume { destination }),
        1 => any::<bool>().prop_map(|in_order| Event::Restart { in_order }),
    ];
    proptest::collection::vec(event, 1..80)
}

/// One observation domain of the exporter.
pub struct Domain {
    pub id: u32,
    pub sequence: u32,
    withdrawals: bool,
    serial: u32,
    templates: Vec<State>,
    options: Template,
    announced: bool,
}

struct State {
    template: Template,
    live: bool,
}

impl Domain {
    pub fn new(id: u32, sequence: u32, withdrawals: bool) -> Domain {
        let templates =
            (0..TEMPLATES).map(|place| State { template: layout(place, 0), live: false }).collect();
        let options = Template::options(300, 1, [Field::iana(10, 4), Field::iana(82, VARIABLE)]);
        Domain { id, sequence, withdrawals, serial: 0, templates, options, announced: false }
    }

    fn message(&self) -> Message {
        Message::new(self.id, self.sequence)
    }

    /// Counts records, and says what stands before them.
    fn count(&mut self, records: usize) {
        self.sequence = self.sequence.wrapping_add(u32::try_from(records).unwrap());
    }

    /// The message of an event, if it comes to one; `None` for what is lost, too.
    pub fn act(&mut self, event: &Event) -> Option<Vec<u8>> {
        match *event {
            Event::Flow { template, records, .. } => Some(self.flow(template, records)),
            Event::LostFlow { records, .. } => {
                self.count(records);
                None
            }
            Event::Mixed { template, records, options, .. } => {
                Some(self.mixed(template, records, options))
            }
            Event::Options { records, scope, .. } => Some(self.options(records, scope)),
            Event::Templates { .. } => Some(self.templates()),
            Event::Redefine { template, .. } => Some(self.redefine(template)),
            Event::Withdraw { template, .. } => self.withdraw(template),
            Event::Empty { .. } => Some(self.message().build()),
            Event::Break { .. }
            | Event::Return { .. }
            | Event::Stall { .. }
            | Event::Resume { .. }
            | Event::Restart { .. } => None,
        }
    }

    fn flow(&mut self, place: usize, records: usize) -> Vec<u8> {
        let mut message = self.message();
        if !self.templates[place].live {
            message = message.template(&self.templates[place].template);
            self.templates[place].live = true;
        }
        let template = self.templates[place].template.clone();
        let message = message.data(&template, &self.records(&template, records)).build();
        self.count(records);
        message
    }

    fn mixed(&mut self, place: usize, records: usize, options: usize) -> Vec<u8> {
        self.templates[place].live = true;
        self.announced = true;
        let template = self.templates[place].template.clone();
        let message = self
            .message()
            .template(&self.options)
            .data(&self.options.clone(), &self.options_records(options, 0))
            .template(&template)
            .data(&template, &self.records(&template, records))
            .build();
        self.count(records + options);
        message
    }

    fn options(&mut self, records: usize, scope: u32) -> Vec<u8> {
        let mut message = self.message();
        if !self.announced {
            message = message.template(&self.options);
            self.announced = true;
        }
        let options = self.options.clone();
        let message = message.data(&options, &self.options_records(records, scope)).build();
        self.count(records);
        message
    }

    fn templates(&mut self) -> Vec<u8> {
        self.announced = true;
        self.templates.iter_mut().for_each(|state| state.live = true);
        let templates: Vec<&Template> = self.templates.iter().map(|s| &s.template).collect();
        self.message().templates(&templates).template(&self.options).build()
    }

    fn redefine(&mut self, place: usize) -> Vec<u8> {
        self.serial += 1;
        let mut message = self.message();
        if self.withdrawals && self.templates[place].live {
            message = message.withdraw(&self.templates[place].template);
        }
        let template = layout(place, self.serial);
        let message = message.template(&template).build();
        self.templates[place] = State { template, live: true };
        message
    }

    fn withdraw(&mut self, place: usize) -> Option<Vec<u8>> {
        let state = &mut self.templates[place];
        if !self.withdrawals || !std::mem::take(&mut state.live) {
            return None;
        }
        let template = state.template.clone();
        Some(self.message().withdraw(&template).build())
    }

    fn records(&mut self, template: &Template, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|_| {
                self.serial += 1;
                let serial = self.serial.to_be_bytes();
                let values: Vec<Vec<u8>> = template
                    .fields
                    .iter()
                    .map(|field| match field.length {
                        VARIABLE => [&serial[..], &vec![7; usize::from(serial[3]) % 40]].concat(),
                        length => {
                            serial.iter().rev().copied().cycle().take(length.into()).collect()
                        }
                    })
                    .collect();
                let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                template.record(&values).unwrap()
            })
            .collect()
    }

    fn options_records(&mut self, count: usize, scope: u32) -> Vec<Vec<u8>> {
        (0..u32::try_from(count).unwrap())
            .map(|place| {
                self.serial += 1;
                let name = format!("eth{}", self.serial);
                self.options.record(&[&(scope + place).to_be_bytes(), name.as_bytes()]).unwrap()
            })
            .collect()
    }
}

/// The `version`-th definition of the `place`-th template: lengths differ, so that reading by the
/// wrong one is noticed.
fn layout(place: usize, version: u32) -> Template {
    let counters = [Field::iana(1, 8), Field::iana(2, 8), Field::iana(152, 8)];
    let mut fields = vec![Field::iana(8, 4)];
    fields.extend(&counters[..usize::try_from(version % 4).unwrap()]);
    if place == 1 {
        fields.push(Field::enterprise(43_823, 100, VARIABLE));
    }
    Template::data(u16::try_from(256 + place).unwrap(), fields)
}
