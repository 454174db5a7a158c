//! What a caller asks to emit, as the body of a call has it.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::http::data;
use crate::http::fields::Fields;
use crate::ids::{EventId, UserId};
use crate::inbox::send::{MAX_RECIPIENTS, idempotency_key};
use crate::protocol::MAX_FRAME_BYTES;
use crate::text;

/// The route, which is part of the name of a repeatable event.
pub const ROUTE: &str = "/api/events/emit";

/// An event that was asked for.
#[derive(Debug)]
pub struct Draft {
    /// Its id: that of its idempotency key, or a new one.
    pub id: EventId,
    /// Its type.
    pub kind: Kind,
    /// Its name, as the caller chose it.
    pub name: Option<String>,
    /// As it is pushed: a JSON object of at most [`MAX_FRAME_BYTES`].
    pub event: Box<RawValue>,
    /// The users it is for; `None`: all.
    pub users: Option<Vec<UserId>>,
}

/// The type of an event. What it means is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something about the system.
    System,
    /// Something a dashboard shows.
    Dashboard,
    /// Something for people to read.
    Announcement,
}

impl Kind {
    /// Its name in calls and frames.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Dashboard => "dashboard",
            Self::Announcement => "announcement",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::System, Self::Dashboard, Self::Announcement].into_iter().find(|kind| kind.name() == name)
    }
}

const TOO_LARGE: &str = "an event must be at most 32 KB";

/// An event as it is pushed.
#[derive(Serialize)]
struct Wire<'a> {
    r#type: Kind,
    id: EventId,
    name: Option<&'a str>,
    title: Option<&'a str>,
    body: Option<&'a str>,
    data: &'a RawValue,
}

impl Draft {
    /// Reads the body of a call. `header_key` is the `Idempotency-Key` header.
    pub fn read(caller: &UserId, members: Map<String, Value>, header_key: Option<&str>) -> Result<Self, Error> {
        let is_for_all = is_for_all(&members);
        let mut fields = Fields::new(members);
        let key = idempotency_key(&mut fields, header_key);
        let kind = fields.take("type");
        let kind = fields.required("type", kind).and_then(|kind| {
            fields.checked("type", kind, |kind| {
                let kind = kind.as_str().and_then(Kind::from_name);
                kind.ok_or_else(|| "must be system, dashboard or announcement".into())
            })
        });
        let name = line(&mut fields, "name", 64);
        let title = line(&mut fields, "title", 200);
        let body = fields.text("body", 0, 4_000);
        let data = data(&mut fields)?;
        let users = if is_for_all { None } else { fields.users("userIds", MAX_RECIPIENTS) };
        fields.finish()?;
        // Every absence was recorded as a problem, so neither is absent after `finish`.
        let (Some(kind), Some(data)) = (kind, data) else { return Err(Error::Internal) };
        let id = key.map_or_else(EventId::random, |key| EventId::of_key(caller, ROUTE, &key));
        let wire = Wire {
            r#type: kind,
            id,
            name: name.as_deref(),
            title: title.as_deref(),
            body: body.as_deref(),
            data: &data,
        };
        let event = serde_json::value::to_raw_value(&wire).map_err(|_| Error::Internal)?;
        if event.get().len() > MAX_FRAME_BYTES {
            return Err(Error::PayloadTooLarge(TOO_LARGE));
        }
        Ok(Self { id, kind, name, event, users })
    }
}

/// Whether a body asks to emit to all.
pub fn is_for_all(members: &Map<String, Value>) -> bool {
    !members.contains_key("userIds")
}

fn line(fields: &mut Fields, name: &str, max: usize) -> Option<String> {
    let value = fields.take(name)?;
    fields.checked(name, value, |value| match value {
        Value::String(text) => text::check_line(&text, max).map(|()| text),
        _ => Err("must be a string".into()),
    })
}

/// Takes `data`; an empty object if it is absent. `None` if a problem was recorded.
fn data(fields: &mut Fields) -> Result<Option<Box<RawValue>>, Error> {
    let data = match fields.take("data") {
        None => Map::new(),
        Some(Value::Object(data)) => data,
        Some(_) => {
            fields.problem("data", "must be an object");
            return Ok(None);
        }
    };
    data::compact_within(fields, data, MAX_FRAME_BYTES).map_err(|data::TooLarge| Error::PayloadTooLarge(TOO_LARGE))
}
