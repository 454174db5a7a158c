//! `data`: an object of the caller's own, kept and passed on exactly as it was given.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::http::fields::{self, Fields};
use crate::text;

/// The most bytes of `data`, as compact JSON.
pub const MAX_DATA_BYTES: usize = 16 * 1_024;

/// The object as compact JSON of at most [`MAX_DATA_BYTES`].
pub fn compact(fields: &mut Fields, data: Map<String, Value>) -> Option<Box<RawValue>> {
    compact_within(fields, data, MAX_DATA_BYTES).unwrap_or_else(|TooLarge| {
        fields.problem("data", "must be at most 16 KB as compact JSON");
        None
    })
}

/// The object does not fit.
#[derive(Debug)]
pub struct TooLarge;

/// The object as compact JSON of at most so many bytes. The size first: only what is small enough is looked at.
pub fn compact_within(
    fields: &mut Fields,
    data: Map<String, Value>,
    max_bytes: usize,
) -> Result<Option<Box<RawValue>>, TooLarge> {
    let data = Value::Object(data);
    let text = data.to_string();
    if text.len() > max_bytes {
        return Err(TooLarge);
    }
    if let Some(below) = refused_string(&data) {
        fields.problem(format!("data{below}"), "must not contain control characters other than line feed and tab");
        return Ok(None);
    }
    Ok(fields.checked("data", text, |text| RawValue::from_string(text).map_err(|_| "must be an object".into())))
}

/// The path, below `value`, of the first string that contains a refused character. It is put together only on the way
/// back, so that nothing is written while everything is well.
fn refused_string(value: &Value) -> Option<String> {
    let is_refused = |text: &str| text.chars().any(text::is_refused);
    match value {
        Value::String(text) => is_refused(text).then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| refused_string(item).map(|below| format!("[{index}]{below}"))),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if is_refused(name) {
                // It is not repeated; the path ends with the object that contains it.
                return Some(String::new());
            }
            refused_string(member).map(|below| format!(".{}{below}", fields::printable(name)))
        }),
        _ => None,
    }
}
