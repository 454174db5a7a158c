//! Frames and events, held against the messages of docs/asyncapi.yaml.

use serde_json::Value;

use super::schemas::{ASYNCAPI, members, problems, resolved};

/// Panics unless a frame that a socket received is one of the described messages, and only one.
pub fn check_frame(frame: &Value) {
    check("live", frame);
}

/// The same for an event of an event stream.
pub fn check_event(event: &Value) {
    check("events", event);
}

fn check(channel: &str, frame: &Value) {
    // The messages of clients have another name, and are described in the same place.
    let messages = members(&ASYNCAPI["channels"][channel]["messages"]).filter(|(name, _)| !name.ends_with("Action"));
    let schemas = messages.map(|(name, message)| (name, &resolved(message)["payload"]));
    let problems: Vec<(&str, Vec<String>)> = schemas
        // It takes long to compile a schema for the first time.
        .filter(|&(_, schema)| may_be(schema, &frame["type"]))
        .map(|(name, schema)| (name, problems(name, schema, frame)))
        .collect();
    let fitting: Vec<&str> = problems.iter().filter(|(_, found)| found.is_empty()).map(|(name, _)| *name).collect();
    let all: Vec<&String> = problems.iter().flat_map(|(_, found)| found).collect();
    let shown = frame.to_string();
    assert_eq!(fitting.len(), 1, "{fitting:?} of channel {channel} in docs/asyncapi.yaml: {all:#?}\n  {shown:.1000}");
}

/// Whether a schema allows this `type`.
fn may_be(schema: &'static Value, kind: &Value) -> bool {
    let schema = resolved(schema);
    if let Some(alternatives) = schema["oneOf"].as_array() {
        return alternatives.iter().any(|alternative| may_be(alternative, kind));
    }
    let own = resolved(&schema["properties"]["type"]);
    own["const"] == *kind || own["enum"].as_array().is_some_and(|kinds| kinds.contains(kind))
}
