//! Reads the members of a JSON object or the parameters of a query. Each is taken once, all problems are collected, and
//! members that were not taken are unknown.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::cursor::Cursor;
use crate::error::{Error, Problems};
use crate::text;

/// The members of one object that have yet to be taken, and the problems found so far.
#[derive(Debug, Default)]
pub struct Fields {
    members: Map<String, Value>,
    problems: Problems,
}

impl Fields {
    /// Begins with all members of an object and no problems.
    pub fn new(members: Map<String, Value>) -> Self {
        Self { members, problems: Problems::default() }
    }

    /// Takes a member. `null` is a value, and has the wrong type for every member of the API.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        // `shift_remove` keeps the order of the others, in which unknown members are reported.
        self.members.shift_remove(name)
    }

    /// Takes a string of `min..=max` characters.
    pub fn text(&mut self, name: &str, min: usize, max: usize) -> Option<String> {
        let value = self.take(name)?;
        self.checked(name, value, |value| match value {
            Value::String(text) => text::check(&text, min, max).map(|()| text),
            _ => Err("must be a string".into()),
        })
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        self.checked(name, value, |value| value.as_bool().ok_or_else(|| "must be true or false".into()))
    }

    /// Takes a cursor. A malformed one fails at once as a `bad_request`, as it does in a query.
    pub fn cursor(&mut self, name: &str) -> Result<Option<Cursor>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(cursor(&text)?)),
            Some(_) => {
                self.problem(name, "must be a string");
                Ok(None)
            }
        }
    }

    /// Takes a query parameter.
    pub fn parameter(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the query parameter `limit`, from 1 to `max`.
    pub fn limit(&mut self, default: usize, max: usize) -> usize {
        let Some(text) = self.parameter("limit") else {
            return default;
        };
        let limit = self.checked("limit", text, |text| {
            let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            let limit = text.parse().ok().filter(|limit| digits && (1..=max).contains(limit));
            limit.ok_or_else(|| format!("must be a whole number from 1 to {max}"))
        });
        limit.unwrap_or(default)
    }

    /// Records a problem of a field.
    pub fn problem(&mut self, field: impl Into<String>, required: impl Display) {
        self.problems.add(field, required);
    }

    /// Records that a member is required if `value` is absent and no problem was recorded for it yet.
    pub fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.problems.fields().any(|field| field.starts_with(name)) {
            self.problem(name, "is required");
        }
        value
    }

    /// Applies a check to a value, and records a problem if it fails.
    pub fn checked<V, T>(&mut self, name: &str, value: V, check: impl FnOnce(V) -> Result<T, String>) -> Option<T> {
        check(value).map_err(|required| self.problem(name, required)).ok()
    }

    /// Fails with every problem so far and every member that was not taken, if there are any.
    pub fn finish(mut self) -> Result<(), Error> {
        for (name, _) in std::mem::take(&mut self.members) {
            self.problems.add(printable(&name), "is not a known field");
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::ValidationFailed(self.problems)) }
    }
}

/// The name of an unknown member as it may be repeated to the caller: a placeholder if it is empty, longer than 64
/// characters, or contains control or bidirectional override characters.
pub fn printable(name: &str) -> &str {
    let plain = !name.chars().any(|c| c.is_control() || text::is_bidi_override(c));
    if plain && (1..=64).contains(&name.chars().take(65).count()) { name } else { "(unprintable name)" }
}

/// Parses a cursor of a query or a member.
pub fn cursor(text: &str) -> Result<Cursor, Error> {
    text.parse().map_err(|_| Error::BadRequest("a cursor must have the form <epoch>.<offset>, as returned by the API"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    #[test]
    fn all_problems_are_reported_at_once_without_any_value() {
        let mut fields = Fields::new(json::object(br#"{"title":"","on":1,"\u202esecret":"hunter2","x":2}"#).unwrap());
        let title = fields.text("title", 1, 200);
        fields.required("title", title);
        fields.boolean("on");
        let missing = fields.text("body", 1, 2);
        fields.required("body", missing);
        let error = fields.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "title: must be 1 to 200 characters; on: must be true or false; body: is required; \
             (unprintable name): is not a known field; x: is not a known field"
        );
    }
}
