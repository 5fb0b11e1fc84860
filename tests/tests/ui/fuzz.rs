//! Requests made up from the API's own description: each answer is one that the description tells.

use std::fs;

use anyhow::{Context, Result, ensure};
use ipfix_balancer_tests::http::Answer;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::scene::{ADMIN, ApiClient, Scene, body};

const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");
/// Requests to each operation.
const REQUESTS: usize = 40;
/// How deep made-up values are.
const DEPTH: usize = 6;

/// What a client may be told that does not know the description.
const BAD_REQUESTS: [u16; 4] = [400, 404, 413, 415];

#[test]
fn every_answer_is_one_of_the_description() -> Result<()> {
    let scene = Scene::new()?;
    // Made-up servers are nowhere.
    fs::write(scene.data().join("ssh_config"), "Host *\n  ProxyCommand false\n")?;
    let admin = scene.client(ADMIN)?;
    let description: Value = serde_json::from_str(DESCRIPTION)?;
    let mut runner = TestRunner::deterministic();
    let paths = description["paths"].as_object().context("no paths")?;
    let mut sent = 0;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            // It would end this session, or use up the attempts for it.
            if path == "/api/session" {
                continue;
            }
            let api = Api { description: &description, operation };
            for _ in 0..REQUESTS {
                api.try_once(&admin, &mut runner, &method.to_uppercase(), path)?;
                sent += 1;
            }
        }
    }
    ensure!(sent > 10 * REQUESTS, "only {sent} requests");
    ensure!(admin.send("GET", "/api/servers", "")?.status == 200);
    scene.daemon.status()?;
    ensure!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
    Ok(())
}

struct Api<'a> {
    description: &'a Value,
    operation: &'a Value,
}

impl Api<'_> {
    fn try_once(
        &self,
        client: &ApiClient,
        runner: &mut TestRunner,
        method: &str,
        path: &str,
    ) -> Result<()> {
        let (mut address, mut query) = (path.to_owned(), Vec::new());
        for parameter in self.operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().context("no name")?;
            let text = match name {
                "server" => pick(runner, prop_oneof![Just("local".to_owned()), "\\PC{1,20}"])?,
                _ => pick(runner, prop_oneof!["\\PC{0,12}", "[0-9]{1,25}", "[a-zA-Z]{1,9}"])?,
            };
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            match parameter["in"] == "path" {
                true => {
                    address = address.replace(&format!("{{{name}}}"), &text.replace('+', "%20"))
                }
                false => query.push(format!("{name}={text}")),
            }
        }
        if !query.is_empty() {
            address = format!("{address}?{}", query.join("&"));
        }
        let schema = &self.operation["requestBody"]["content"]["application/json"]["schema"];
        let sent = match schema {
            Value::Null => String::new(),
            schema => match pick(runner, self.value(schema, DEPTH))? {
                // No JSON at all, now and then.
                Value::Null => pick(runner, "\\PC{0,30}".boxed())?,
                value => value.to_string(),
            },
        };
        let answer = client.send(method, &address, &sent)?;
        self.is_told(&answer).with_context(|| format!("{method} {address} {sent}\n{answer:?}"))
    }

    fn is_told(&self, answer: &Answer) -> Result<()> {
        let Answer { status, .. } = answer;
        let told = &self.operation["responses"][status.to_string()];
        ensure!(!told.is_null() || BAD_REQUESTS.contains(status), "status {status}");
        let schema = &told["content"]["application/json"]["schema"];
        if schema.is_null() {
            return Ok(());
        }
        let schema = json!({"components": self.description["components"], "allOf": [schema]});
        let validator = jsonschema::validator_for(&schema)?;
        let value = body(answer)?;
        let problems: Vec<_> =
            validator.iter_errors(&value).map(|error| error.to_string()).collect();
        ensure!(problems.is_empty(), "{problems:?}");
        Ok(())
    }

    /// Values that fit a schema, mostly.
    fn value(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        let junk = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,40}".prop_map(Value::from),
            Just(json!([])),
            Just(json!({"x": [1]})),
        ];
        if depth == 0 {
            return junk.boxed();
        }
        prop_oneof![8 => self.fitting(schema, depth), 1 => junk].boxed()
    }

    fn fitting(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        if let Some(place) = schema["$ref"].as_str() {
            let target = self.description.pointer(place.trim_start_matches('#'));
            return self.value(target.unwrap_or(&Value::Null), depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            return proptest::sample::select(words.clone()).boxed();
        }
        if let Some(either) = schema["oneOf"].as_array() {
            let each: Vec<_> = either.iter().map(|one| self.value(one, depth - 1)).collect();
            return proptest::strategy::Union::new(each).boxed();
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                proptest::collection::vec(self.value(&schema["items"], depth - 1), 0..4)
                    .prop_map(Value::from)
                    .boxed()
            }
            Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
            Some("integer") => any::<u32>().prop_map(Value::from).boxed(),
            _ => prop_oneof![
                "\\PC{0,40}",
                "IPFIX_FULLFLOW_[A-Z_]{1,12}\\[[0-9]\\]",
                "FULLFLOW|DNSFLOW"
            ]
            .prop_map(Value::from)
            .boxed(),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
        let fields: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
        let names: Vec<String> = fields.iter().map(|(name, _)| (*name).clone()).collect();
        let values: Vec<_> = fields.iter().map(|(_, one)| self.value(one, depth - 1)).collect();
        let whole = move |values: Vec<Value>| {
            names.iter().cloned().zip(values).collect::<Map<_, _>>().into()
        };
        values.prop_map(whole).boxed()
    }
}

fn pick<T: std::fmt::Debug>(
    runner: &mut TestRunner,
    strategy: impl Strategy<Value = T>,
) -> Result<T> {
    let tree = strategy.new_tree(runner).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    Ok(tree.current())
}
