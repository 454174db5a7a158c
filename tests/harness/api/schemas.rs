//! The documents that describe the API, and what is wrong with a value by one of their schemas.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Registry, ValidationError, Validator};
use serde_json::Value;

use crate::yaml;

/// The address of docs/openapi.yaml in references.
pub(super) const OPENAPI_ADDRESS: &str = "file:///openapi.yaml";
/// The address of docs/asyncapi.yaml in references.
const ASYNCAPI_ADDRESS: &str = "file:///asyncapi.yaml";

/// What docs/openapi.yaml says, of which docs/openapi.json is a copy.
pub(super) static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let document = serde_json::from_str(&read("openapi.json")).unwrap();
    with_addresses(document, OPENAPI_ADDRESS)
});

/// What docs/asyncapi.yaml says.
pub(super) static ASYNCAPI: LazyLock<Value> =
    LazyLock::new(|| with_addresses(yaml::parse(&read("asyncapi.yaml")), ASYNCAPI_ADDRESS));

/// Where schemas find each other.
static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let documents = [(OPENAPI_ADDRESS, &*OPENAPI), (ASYNCAPI_ADDRESS, &*ASYNCAPI)];
    Registry::new().extend(documents).unwrap().prepare().unwrap()
});

/// The schemas that were needed so far, by their text. To compile one takes much longer than to use it.
static COMPILED: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

/// What is wrong with a value by this schema, each with the place in the value. `name` is that of the whole value.
pub(super) fn problems(name: &str, schema: &Value, value: &Value) -> Vec<String> {
    let validator = compiled(schema);
    if validator.is_valid(value) {
        return Vec::new();
    }
    validator.iter_errors(value).map(|error| explained(name, &error)).collect()
}

/// The same for a text that must be JSON.
pub(super) fn json_problems(name: &str, schema: &Value, text: &[u8]) -> Vec<String> {
    match serde_json::from_slice(text) {
        Ok(value) => problems(name, schema, &value),
        Err(error) => vec![format!("{name}: is not JSON: {error}")],
    }
}

/// What a reference leads to; any other value itself.
pub(super) fn resolved(value: &'static Value) -> &'static Value {
    let Some(reference) = value["$ref"].as_str() else {
        return value;
    };
    let (address, pointer) = reference.split_once('#').unwrap();
    let document: &'static Value = if address == OPENAPI_ADDRESS { &OPENAPI } else { &ASYNCAPI };
    resolved(document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
}

/// The members of an object; none of any other value.
pub(super) fn members(value: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

fn read(document: &str) -> String {
    let file = format!("{}/../docs/{document}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A document whose references say in which document they lead, so that a schema can be compiled outside of its own.
fn with_addresses(mut value: Value, own: &str) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = with_addresses(item.take(), own)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                *member = match member.take() {
                    Value::String(inside) if name == "$ref" && inside.starts_with('#') => {
                        format!("{own}{inside}").into()
                    }
                    Value::String(beside) if name == "$ref" => beside.replacen("./", "file:///", 1).into(),
                    other => with_addresses(other, own),
                };
            }
        }
        _ => {}
    }
    value
}

fn compiled(schema: &Value) -> Arc<Validator> {
    let mut known = COMPILED.lock().unwrap();
    let compile = || {
        let options = jsonschema::options().should_validate_formats(true).with_registry(&REGISTRY);
        Arc::new(options.build(schema).unwrap_or_else(|error| panic!("{schema}: {error}")))
    };
    Arc::clone(known.entry(schema.to_string()).or_insert_with(compile))
}

/// Where and what is wrong. If there are alternatives, what is wrong with each.
fn explained(name: &str, error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let alternatives = context.iter().map(|errors| {
                let reasons: Vec<String> = errors.iter().map(|error| explained(name, error)).collect();
                reasons.join(", and ")
            });
            alternatives.collect::<Vec<String>>().join("; or ")
        }
        _ => {
            let value = error.instance().to_string();
            format!("{name}{}: {}", error.instance_path(), error.masked_with(format!("{value:.100}")))
        }
    }
}
