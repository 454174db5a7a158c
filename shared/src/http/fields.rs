//! Reads the members of a JSON object or the parameters of a query. Each is taken once, all problems are collected, and
//! members that were not taken are unknown.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::{Map, Value};

use crate::clock::Time;
use crate::cursor::Cursor;
use crate::error::{Error, Problems};
use crate::ids::UserId;
use crate::text;

/// The members of one object that have yet to be taken, and the problems found so far.
#[derive(Debug, Default)]
pub struct Fields {
    members: Map<String, Value>,
    problems: Problems,
    /// What the names of the members begin with in problems: `keys.` for those of the member `keys`.
    prefix: String,
}

impl Fields {
    /// Begins with all members of an object and no problems.
    pub fn new(members: Map<String, Value>) -> Self {
        Self { members, problems: Problems::default(), prefix: String::new() }
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

    /// Takes a whole number from `min` to `max`, in any notation: `5e3` is one.
    pub fn whole_number(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        let value = self.take(name)?;
        self.checked(name, value, |value| {
            let number = whole_number(&value).filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
        })
    }

    /// Takes an RFC 3339 instant.
    pub fn instant(&mut self, name: &str) -> Option<Time> {
        let value = self.take(name)?;
        self.checked(name, value, |value| instant(&value))
    }

    /// Takes a member that is `null`; false, and it is left, if it is anything else.
    pub fn take_null(&mut self, name: &str) -> bool {
        self.members.get(name).is_some_and(Value::is_null) && self.take(name).is_some()
    }

    /// Takes an object, of which `read` takes the members. Those that it does not take are unknown.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Value::Object(members) = self.take(name)? else {
            self.problem(name, "must be an object");
            return None;
        };
        let prefix = format!("{}{name}.", self.prefix);
        let mut inner = Self { members, problems: std::mem::take(&mut self.problems), prefix };
        let value = read(&mut inner);
        inner.refuse_unknown();
        self.problems = inner.problems;
        Some(value)
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

    /// Takes a query parameter that is a whole number from 0 to `max`.
    pub fn whole_parameter(&mut self, name: &str, max: i64) -> Option<i64> {
        let text = self.parameter(name)?;
        self.checked(name, text, |text| {
            let is_plain = !text.is_empty() && text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|number| is_plain && (0..=max).contains(number));
            number.ok_or_else(|| format!("must be a whole number from 0 to {max}"))
        })
    }

    /// Takes a query parameter that is `true` or `false`; without it, false.
    pub fn flag(&mut self, name: &str) -> bool {
        let Some(text) = self.parameter(name) else {
            return false;
        };
        let flag = self.checked(name, text, |text| match text.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".into()),
        });
        flag.unwrap_or(false)
    }

    /// Takes a list of 1 to `max` users, each once in the order of first mention.
    pub fn users(&mut self, name: &str, max: usize) -> Option<Vec<UserId>> {
        let users = self.take(name);
        let users = match self.required(name, users)? {
            Value::Array(users) => users,
            _ => {
                self.problem(name, "must be an array of user ids");
                return None;
            }
        };
        self.distinct_users(name, users, max)
    }

    /// Takes 1 to `max` users of a query: separated by commas in the parameter `name`, or each as one value of the list
    /// `each`, where an id may contain commas.
    pub fn users_parameter(&mut self, name: &str, each: &str, max: usize) -> Option<Vec<UserId>> {
        if let Some(Value::Array(users)) = self.take(each) {
            if self.take(name).is_some() {
                self.problem(each, format_args!("cannot be combined with {name}"));
                return None;
            }
            return self.distinct_users(each, users, max);
        }
        let text = self.parameter(name);
        let text = self.required(name, text)?;
        // One more than allowed is enough to refuse the rest.
        let users = text.split(',').take(max + 1).map(|user| Value::String(user.to_owned())).collect();
        self.distinct_users(name, users, max)
    }

    fn distinct_users(&mut self, name: &str, users: Vec<Value>, max: usize) -> Option<Vec<UserId>> {
        if users.is_empty() || users.len() > max {
            self.problem(name, format_args!("must name 1 to {max} users"));
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut found = Some(Vec::new());
        for (index, user) in users.into_iter().enumerate() {
            let user = self.checked(&format!("{name}[{index}]"), user, |user| match user {
                Value::String(user) => UserId::new(user).map_err(str::to_owned),
                _ => Err("must be a string".into()),
            });
            found = match (found, user) {
                (Some(mut found), Some(user)) => {
                    if seen.insert(user.clone()) {
                        found.push(user);
                    }
                    Some(found)
                }
                _ => None,
            };
        }
        found
    }

    /// Records a problem of a field.
    pub fn problem(&mut self, field: impl Into<String>, required: impl Display) {
        self.problems.add(format!("{}{}", self.prefix, field.into()), required);
    }

    /// Records that a member is required if `value` is absent and no problem was recorded for it yet.
    pub fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has_problem(name) {
            self.problem(name, "is required");
        }
        value
    }

    /// Whether a problem of a member, or of something in it, was recorded.
    pub fn has_problem(&self, name: &str) -> bool {
        let path = format!("{}{name}", self.prefix);
        self.problems.fields().any(|field| field.starts_with(&path))
    }

    /// Applies a check to a value, and records a problem if it fails.
    pub fn checked<V, T>(&mut self, name: &str, value: V, check: impl FnOnce(V) -> Result<T, String>) -> Option<T> {
        check(value).map_err(|required| self.problem(name, required)).ok()
    }

    /// Fails with every problem so far and every member that was not taken, if there are any.
    pub fn finish(mut self) -> Result<(), Error> {
        self.refuse_unknown();
        if self.problems.is_empty() { Ok(()) } else { Err(Error::ValidationFailed(self.problems)) }
    }

    fn refuse_unknown(&mut self) {
        for (name, _) in std::mem::take(&mut self.members) {
            self.problem(printable(&name), "is not a known field");
        }
    }
}

/// The name of an unknown member as it may be repeated to the caller: a placeholder if it is empty, longer than 64
/// characters, or contains control or bidirectional override characters.
pub fn printable(name: &str) -> &str {
    let plain = !name.chars().any(|c| c.is_control() || text::is_bidi_override(c));
    if plain && (1..=64).contains(&name.chars().take(65).count()) { name } else { "(unprintable name)" }
}

/// A whole number in any notation: `5e3` is one.
pub fn whole_number(value: &Value) -> Option<i64> {
    let from_float = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and an i64 holds more than 1e15")]
    value.as_i64().or_else(|| from_float().map(|number| number as i64))
}

/// An RFC 3339 instant.
pub fn instant(value: &Value) -> Result<Time, String> {
    let instant = value.as_str().and_then(Time::parse);
    instant.ok_or_else(|| "must be an RFC 3339 timestamp such as 2026-11-20T16:00:00Z".into())
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

    #[test]
    fn members_of_an_object_are_named_with_it() {
        let mut fields = Fields::new(json::object(br#"{"keys":{"auth":1,"x":2},"options":[],"y":3}"#).unwrap());
        let keys = fields.object("keys", |keys| {
            let id = keys.text("id", 1, 9);
            (keys.required("id", id), keys.text("auth", 1, 9))
        });
        assert_eq!(
            (keys, fields.object("options", |_| ()), fields.object("more", |_| ())),
            (Some((None, None)), None, None)
        );
        assert_eq!(
            fields.finish().unwrap_err().to_string(),
            "keys.id: is required; keys.auth: must be a string; keys.x: is not a known field; \
             options: must be an object; y: is not a known field"
        );
    }
}
