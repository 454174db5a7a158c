//! What a send says: type, texts, data, and how it rings.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::http::data;
use crate::http::fields::Fields;
use crate::inbox::action_url::check_action_url;
use crate::inbox::notification::{Channels, Content, Priority, is_type};
use crate::text;

/// How long a digest may collect, in milliseconds: a minute to a day.
pub const DIGEST_MS: RangeInclusive<i64> = 60_000..=24 * 60 * 60 * 1_000;

/// Takes what each recipient gets.
pub(super) fn content(fields: &mut Fields) -> Option<Content> {
    let kind = fields.text("type", 1, 64);
    let kind = kind.and_then(|kind| {
        fields.checked("type", kind, |kind| {
            if is_type(&kind) { Ok(kind) } else { Err("must contain only A-Z a-z 0-9 _ . : -".into()) }
        })
    });
    let kind = fields.required("type", kind);
    let mut data = data(fields);
    let title = take_text(fields, &mut data, &["title"], &["title"], |text| text::check_line(text, 200));
    // A wrong one inside `data` is not missing.
    let title = if fields.has_problem("data.title") { None } else { fields.required("title", title) };
    let body = take_text(fields, &mut data, &["body", "message"], &["body"], |text| text::check(text, 0, 4_000));
    let action_url = take_text(fields, &mut data, &["actionUrl"], &["actionUrl"], check_action_url);
    let data = data.and_then(|data| data::compact(fields, data));
    let priority = match fields.take("priority") {
        None => Some(Priority::default()),
        Some(value) => fields.checked("priority", value, |value| {
            value.as_str().and_then(Priority::from_name).ok_or_else(|| "must be low, normal, high or critical".into())
        }),
    };
    let expires_at = fields.instant("expiresAt");
    let collapse_key = fields.text("collapseKey", 1, 64);
    let channels = channels(fields);
    let digest_ms = digest(fields);
    let (kind, title, data, priority, channels) = (kind?, title?, data?, priority?, channels?);
    Some(Content {
        kind,
        title,
        body,
        data,
        action_url,
        priority,
        expires_at,
        collapse_key,
        channels,
        digest_ms,
        trace: None,
    })
}

/// Takes `channels`; all if it is absent.
fn channels(fields: &mut Fields) -> Option<Channels> {
    let Some(value) = fields.take("channels") else { return Some(Channels::All) };
    fields.checked("channels", value, |value| {
        let has = |name| value.as_array().is_some_and(|names| names.iter().any(|channel| channel == name));
        match (has("realtime"), has("push"), value.as_array().map_or(0, Vec::len)) {
            (true, true, 2) => Ok(Channels::All),
            (true, false, 1) => Ok(Channels::Realtime),
            (false, true, 1) => Ok(Channels::Push),
            _ => Err("must be an array of realtime, push or both, each once".into()),
        }
    })
}

/// Takes `digest`, and returns its window in milliseconds.
fn digest(fields: &mut Fields) -> Option<i64> {
    let window = fields.object("digest", |digest| {
        let window = digest.whole_number("windowMs", *DIGEST_MS.start(), *DIGEST_MS.end());
        digest.required("windowMs", window)
    });
    window.flatten()
}

/// Takes `data`, or `content` as older services call it; an empty object if both are absent.
fn data(fields: &mut Fields) -> Option<Map<String, Value>> {
    let (data, content) = (fields.take("data"), fields.take("content"));
    if data.is_some() && content.is_some() {
        fields.problem("content", "cannot be combined with data");
        return None;
    }
    let name = if data.is_some() { "data" } else { "content" };
    match data.or(content) {
        None => Some(Map::new()),
        Some(Value::Object(data)) => Some(data),
        Some(_) => {
            fields.problem(name, "must be an object");
            None
        }
    }
}

/// Takes a text by one of its names, from the send itself or from `data`, where older services put it.
fn take_text(
    fields: &mut Fields,
    data: &mut Option<Map<String, Value>>,
    names: &[&str],
    inside: &[&str],
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<String> {
    let mut found: Vec<(String, Value)> = Vec::new();
    for name in names {
        found.extend(fields.take(name).map(|value| ((*name).to_owned(), value)));
    }
    for name in inside {
        let value = data.as_mut().and_then(|data| data.shift_remove(*name));
        found.extend(value.map(|value| (format!("data.{name}"), value)));
    }
    if let [_, second, ..] = found.as_slice() {
        fields.problem(second.0.clone(), format!("cannot be combined with {}", found[0].0));
        return None;
    }
    let (name, value) = found.pop()?;
    fields.checked(&name, value, |value| match value {
        Value::String(text) => check(&text).map(|()| text),
        _ => Err("must be a string".into()),
    })
}
