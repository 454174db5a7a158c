//! What a member wants to say, as a body or a frame has it.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::fast::accept::Accept;
use crate::http::data;
use crate::http::fields::Fields;
use crate::inbox::send::accept;
use crate::text;

/// The most characters of a message.
pub const MAX_BODY_CHARS: usize = 4_000;

/// A message that was not stored yet.
#[derive(Debug)]
pub struct Draft {
    /// The sender's own id for it: 1–255 visible ASCII characters.
    pub client_id: String,
    /// What it says: 1–4,000 characters.
    pub body: String,
    /// A compact JSON object of at most 16 KB.
    pub data: Box<RawValue>,
    /// How durable its accept is to be; `None` leaves it to the deployment.
    pub accept: Option<Accept>,
}

impl PartialEq for Draft {
    fn eq(&self, other: &Self) -> bool {
        let Self { client_id, body, data, accept } = self;
        (client_id, body, data.get(), accept) == (&other.client_id, &other.body, other.data.get(), &other.accept)
    }
}

impl Eq for Draft {}

impl Draft {
    /// Reads the body of a call.
    pub fn read(members: Map<String, Value>) -> Result<Self, Error> {
        let mut fields = Fields::new(members);
        let draft = Self::take(&mut fields);
        fields.finish()?;
        // Every absence was recorded as a problem, so `finish` has failed if there is no draft.
        draft.ok_or(Error::Internal)
    }

    /// Takes the members of a message. `None` if a problem was recorded.
    pub fn take(fields: &mut Fields) -> Option<Self> {
        let client_id = client_id(fields);
        let client_id = fields.required("clientId", client_id);
        let body = fields.take("body");
        let body = fields.required("body", body).and_then(|body| {
            fields.checked("body", body, |body| match body {
                Value::String(body) => text::check_visible(&body, MAX_BODY_CHARS).map(|()| body),
                _ => Err("must be a string".into()),
            })
        });
        let data = match fields.take("data") {
            None => data::compact(fields, Map::new()),
            Some(Value::Object(data)) => data::compact(fields, data),
            Some(_) => {
                fields.problem("data", "must be an object");
                None
            }
        };
        let accept = accept(fields);
        Some(Self { client_id: client_id?, body: body?, data: data?, accept })
    }
}

/// Takes `clientId`.
pub fn client_id(fields: &mut Fields) -> Option<String> {
    let id = fields.take("clientId")?;
    fields.checked("clientId", id, |id| match id {
        Value::String(id) if (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(id),
        _ => Err("must be 1 to 255 visible ASCII characters".into()),
    })
}
