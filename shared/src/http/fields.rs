//! Reading the members of a JSON object or a query: each is taken once, every problem is collected, what
//! nobody took is unknown.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::cursor::Cursor;
use crate::error::{Error, Problem};
use crate::text;

/// The members of one object that are still to be read, and the problems met so far.
#[derive(Debug, Default)]
pub struct Fields {
    members: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Fields {
    /// Begins to read an object.
    pub fn new(members: Map<String, Value>) -> Self {
        Self { members, problems: Vec::new() }
    }

    /// Takes a member out. A null is a value, and of the wrong type for every member there is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        // `shift_remove` keeps the order of the rest, in which problems are told.
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

    /// Takes a cursor. A string that is none is a `bad_request`, as it is in a query.
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

    /// Takes a parameter of a query, which is a string as all of them are.
    pub fn parameter(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the parameter `limit`, from 1 to `most`.
    pub fn limit(&mut self, default: usize, most: usize) -> usize {
        let Some(text) = self.parameter("limit") else {
            return default;
        };
        let limit = self.checked("limit", text, |text| {
            let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
            let limit = text.parse().ok().filter(|limit| digits && (1..=most).contains(limit));
            limit.ok_or_else(|| format!("must be a whole number from 1 to {most}"))
        });
        limit.unwrap_or(default)
    }

    /// Notes a problem.
    pub fn problem(&mut self, field: impl Into<String>, required: impl Display) {
        self.problems.push(Problem { field: field.into(), required: required.to_string() });
    }

    /// Notes that a member is required where `value` is absent and nothing was said about it yet.
    pub fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.problems.iter().any(|problem| problem.field.starts_with(name)) {
            self.problem(name, "is required");
        }
        value
    }

    /// Passes a value through a check, and notes a problem where it fails.
    pub fn checked<V, T>(&mut self, name: &str, value: V, check: impl FnOnce(V) -> Result<T, String>) -> Option<T> {
        check(value).map_err(|required| self.problem(name, required)).ok()
    }

    /// Ends the reading: every problem so far, and every member that nobody took.
    pub fn finish(mut self) -> Result<(), Error> {
        for (name, _) in std::mem::take(&mut self.members) {
            self.problem(printable(&name), "is not known");
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::ValidationFailed(self.problems)) }
    }
}

/// A name that a caller made up, where it can be repeated: neither endless nor disguised.
pub fn printable(name: &str) -> &str {
    let plain = !name.chars().any(|c| c.is_control() || text::is_bidi_override(c));
    if plain && (1..=64).contains(&name.chars().take(65).count()) { name } else { "(a name that cannot be shown)" }
}

/// Reads a cursor as it stands in a query or a member.
pub fn cursor(text: &str) -> Result<Cursor, Error> {
    text.parse().map_err(|_| Error::BadRequest("a cursor is <epoch>.<offset> as an answer gave it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    #[test]
    fn all_problems_are_told_at_once_and_no_value_is_repeated() {
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
             (a name that cannot be shown): is not known; x: is not known"
        );
    }
}
