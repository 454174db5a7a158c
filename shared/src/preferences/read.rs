//! Reading preferences from a call, or as they were stored.

use std::collections::BTreeMap;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ANY_TYPE, MAX_MUTES, MAX_TYPES, Preferences, QuietHours, Rule};
use crate::clock::Time;
use crate::error::Error;
use crate::http::fields::{Fields, instant, printable, whole_number};
use crate::ids::ChatId;
use crate::inbox::notification;

impl Preferences {
    /// Reads the body of a call. A member that is left out is empty. Unknown types and chats are kept, since they may come
    /// into being.
    pub fn read(body: Map<String, Value>) -> Result<Self, Error> {
        let mut fields = Fields::new(body);
        let types = entries(&mut fields, "types", MAX_TYPES, type_rule);
        let quiet_hours = if fields.take_null("quietHours") { None } else { fields.object("quietHours", quiet_hours) };
        let muted_chats = entries(&mut fields, "mutedChats", MAX_MUTES, muted_chat);
        fields.finish()?;
        // Every absence was recorded as a problem, so none of them is absent after `finish`.
        let (Some(types), Some(muted_chats)) = (types, muted_chats) else {
            return Err(Error::Internal);
        };
        Ok(Self { types, quiet_hours: quiet_hours.flatten(), muted_chats })
    }
}

impl Preferences {
    /// Reads preferences from the texts of their members; `None` if they were not written by [`Preferences::texts`]. What a
    /// later version has added to a rule or to quiet hours is ignored.
    pub fn stored(types: &str, quiet_hours: Option<&str>, muted_chats: &str) -> Option<Self> {
        let mut types: Map<String, Value> = serde_json::from_str(types).ok()?;
        types.values_mut().for_each(|rule| keep(rule, &["realtime", "push"]));
        let mut quiet_hours: Value = serde_json::from_str(quiet_hours.unwrap_or("null")).ok()?;
        keep(&mut quiet_hours, &["from", "to", "timeZone", "days"]);
        let muted_chats = serde_json::from_str(muted_chats).ok()?;
        let members = [("types", types.into()), ("quietHours", quiet_hours), ("mutedChats", muted_chats)];
        Self::read(members.into_iter().map(|(name, member)| (name.to_owned(), member)).collect()).ok()
    }

    /// The texts under which a store keeps types, quiet hours and muted chats.
    pub fn texts(&self) -> (String, Option<String>, String) {
        let quiet_hours = self.quiet_hours.as_ref().map(text);
        (text(&self.types), quiet_hours, text(&self.muted_chats))
    }
}

/// Removes all other members, if it is an object.
fn keep(value: &mut Value, names: &[&str]) {
    if let Value::Object(members) = value {
        members.retain(|name, _| names.contains(&name.as_str()));
    }
}

fn text(member: &impl Serialize) -> String {
    serde_json::to_string(member).expect("strings, numbers and booleans are JSON")
}

/// Reads an object with at most `max` members; one that is left out is empty.
fn entries<K: Ord, V>(
    fields: &mut Fields,
    name: &str,
    max: usize,
    read: impl Fn(&mut Fields, &str, Value) -> Option<(K, V)>,
) -> Option<BTreeMap<K, V>> {
    let members = match fields.take(name) {
        None => return Some(BTreeMap::new()),
        Some(Value::Object(members)) if members.len() <= max => members,
        Some(_) => {
            fields.problem(name, format_args!("must be an object of at most {max} members"));
            return None;
        }
    };
    let read: Vec<Option<(K, V)>> = members.into_iter().map(|(key, value)| read(fields, &key, value)).collect();
    read.into_iter().collect()
}

fn type_rule(fields: &mut Fields, kind: &str, rule: Value) -> Option<(String, Rule)> {
    let name = format!("types.{}", printable(kind));
    if kind != ANY_TYPE && !notification::is_type(kind) {
        fields.problem(name, "must be * or 1 to 64 of A-Z a-z 0-9 _ . : -");
        return None;
    }
    let Value::Object(mut members) = rule else {
        fields.problem(name, "must be an object");
        return None;
    };
    let mut channel = |channel: &str| match members.shift_remove(channel) {
        None => Some(None),
        Some(Value::Bool(on)) => Some(Some(on)),
        Some(_) => {
            fields.problem(format!("{name}.{channel}"), "must be true or false");
            None
        }
    };
    let (realtime, push) = (channel("realtime"), channel("push"));
    unknown(fields, &name, &members);
    Some((kind.to_owned(), Rule { realtime: realtime?, push: push? }))
}

fn quiet_hours(fields: &mut Fields) -> Option<QuietHours> {
    let [from, to] = ["from", "to"].map(|name| {
        let time = fields.take(name);
        let time = fields.required(name, time)?;
        fields.checked(name, time, |time| {
            time.as_str().and_then(time_of_day).ok_or_else(|| "must be a time such as 22:00".into())
        })
    });
    if from.is_some() && from == to {
        fields.problem("to", "must be another time than from");
    }
    let zone = fields.take("timeZone");
    let time_zone = fields.required("timeZone", zone).and_then(|zone| {
        fields.checked("timeZone", zone, |zone| {
            let zone = zone.as_str().and_then(|name| TimeZone::get(name).ok()).filter(|zone| !zone.is_unknown());
            zone.ok_or_else(|| "must be the name of an IANA time zone such as Europe/Berlin".into())
        })
    });
    let days = fields.take("days").and_then(|days| {
        fields.checked("days", days, |days| {
            let rule = "must be 1 to 7 different numbers from 1, which is Monday, to 7";
            weekdays(&days).ok_or_else(|| rule.into())
        })
    });
    Some(QuietHours { from: from?, to: to?, time_zone: time_zone?, days })
}

/// `22:00`, in minutes since midnight.
fn time_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, end: u16| -> Option<u16> {
        let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| is_plain && *number < end)
    };
    Some(60 * number(hour, 24)? + number(minute, 60)?)
}

fn weekdays(days: &Value) -> Option<Vec<Weekday>> {
    let days = days.as_array().filter(|days| (1..=7).contains(&days.len()))?;
    let day = |day: &Value| Weekday::from_monday_one_offset(i8::try_from(whole_number(day)?).ok()?).ok();
    let read: Vec<Weekday> = days.iter().map(day).collect::<Option<_>>()?;
    let has_repeats = read.iter().enumerate().any(|(n, day)| read[..n].contains(day));
    (!has_repeats).then_some(read)
}

fn muted_chat(fields: &mut Fields, chat: &str, until: Value) -> Option<(ChatId, Option<Time>)> {
    let name = format!("mutedChats.{}", printable(chat));
    let Some(chat) = ChatId::parse(chat) else {
        fields.problem(name, "must be the id of a chat");
        return None;
    };
    match &until {
        Value::Null => Some((chat, None)),
        until => fields.checked(&name, until, instant).map(|until| (chat, Some(until))),
    }
}

fn unknown(fields: &mut Fields, name: &str, members: &Map<String, Value>) {
    for member in members.keys() {
        fields.problem(format!("{name}.{}", printable(member)), "is not a known field");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Preferences, Error> {
        let Value::Object(body) = body else { panic!("not an object") };
        Preferences::read(body)
    }

    /// The fields of all problems.
    fn refused(body: Value) -> Vec<String> {
        match read(body) {
            Err(Error::ValidationFailed(problems)) => problems.fields().map(str::to_owned).collect(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn preferences_are_read_as_they_are_written() {
        let chat = "00000000-0000-4000-8000-000000000001";
        let whole = json!({
            "types": {"*": {"push": false}, "like": {"realtime": true, "push": true}, "later": {}},
            "quietHours": {"from": "22:00", "to": "07:05", "timeZone": "Europe/Berlin", "days": [1, 7]},
            "mutedChats": {chat: null},
        });
        let preferences = read(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(&preferences).unwrap(), whole);
        let empty = json!({"types": {}, "quietHours": null, "mutedChats": {}});
        assert_eq!(read(json!({})).unwrap(), Preferences::default());
        assert_eq!(serde_json::to_value(Preferences::default()).unwrap(), empty);
        // A zone is answered in the spelling of the database.
        let zone = json!({"quietHours": {"from": "00:00", "to": "23:59", "timeZone": "europe/berlin"}});
        let read = serde_json::to_value(read(zone).unwrap()).unwrap();
        assert_eq!(read["quietHours"], json!({"from": "00:00", "to": "23:59", "timeZone": "Europe/Berlin"}));
    }

    #[test]
    fn what_a_later_version_has_stored_is_ignored() {
        let stored = |types, quiet_hours| Preferences::stored(types, quiet_hours, "{}");
        let known = stored(r#"{"like":{"push":false}}"#, Some(r#"{"from":"22:00","to":"07:00","timeZone":"UTC"}"#));
        let later = stored(
            r#"{"like":{"push":false,"sms":true}}"#,
            Some(r#"{"from":"22:00","to":"07:00","timeZone":"UTC","unless":["critical"]}"#),
        );
        assert!(known.is_some());
        assert_eq!(later, known);
        assert_eq!(stored("[]", None), None);
    }

    #[test]
    fn problems_name_the_member() {
        let quiet = |name: &str, value: Value| {
            let mut hours = json!({"from": "22:00", "to": "07:00", "timeZone": "UTC"});
            hours[name] = value;
            refused(json!({"quietHours": hours}))
        };
        for time in [json!("7:00"), json!("24:00"), json!("22:60"), json!("+2:00"), json!("22:00:00"), json!(22)] {
            assert_eq!(quiet("from", time), ["quietHours.from"]);
        }
        assert_eq!(quiet("to", json!("22:00")), ["quietHours.to"]);
        for zone in [json!("Mars/Olympus"), json!("CET-1CEST"), json!(""), json!(1), json!("../UTC")] {
            assert_eq!(quiet("timeZone", zone), ["quietHours.timeZone"]);
        }
        for days in [json!([]), json!([0]), json!([8]), json!([1, 1]), json!("1"), json!([1.5])] {
            assert_eq!(quiet("days", days), ["quietHours.days"]);
        }
        assert_eq!(quiet("until", json!(1)), ["quietHours.until"]);
        assert_eq!(refused(json!({"quietHours": {}})), ["quietHours.from", "quietHours.to", "quietHours.timeZone"]);
        assert_eq!(refused(json!({"quietHours": "night"})), ["quietHours"]);
        assert_eq!(refused(json!({"types": {"a b": {}}})), ["types.a b"]);
        assert_eq!(refused(json!({"types": {"like": true}})), ["types.like"]);
        assert_eq!(refused(json!({"types": {"like": {"push": null}}})), ["types.like.push"]);
        assert_eq!(refused(json!({"types": {"like": {"sms": true}}})), ["types.like.sms"]);
        assert_eq!(refused(json!({"types": []})), ["types"]);
        assert_eq!(refused(json!({"mutedChats": {"chat": null}})), ["mutedChats.chat"]);
        let chat = "00000000-0000-4000-8000-000000000001";
        for until in [json!("tomorrow"), json!(1), json!(true)] {
            assert_eq!(refused(json!({"mutedChats": {chat: until}})), [format!("mutedChats.{chat}")]);
        }
        assert_eq!(refused(json!({"sounds": {}})), ["sounds"]);
    }

    #[test]
    fn members_are_counted_before_they_are_read() {
        let many = |count: usize| (0..count).map(|n| (format!("t{n}"), json!({}))).collect::<Map<_, _>>();
        assert!(read(json!({"types": many(MAX_TYPES)})).is_ok());
        assert_eq!(refused(json!({"types": many(MAX_TYPES + 1)})), ["types"]);
        assert_eq!(refused(json!({"mutedChats": many(MAX_MUTES + 1)})), ["mutedChats"]);
    }
}
