//! `nextCursor` of the history: where a page ended, in a wrapping that keeps it from being taken for a cursor to sync
//! from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::error::Error;
use shared::http::fields::Fields;
use shared::ids::SendId;
use shared::inbox::history::Place;

pub(crate) fn written(Place { created_at_ms, id }: Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{created_at_ms}.{id}"))
}

/// Where the page before ended; `None` for the first.
pub(crate) fn after(fields: &mut Fields) -> Result<Option<Place>, Error> {
    let Some(text) = fields.parameter("cursor") else {
        return Ok(None);
    };
    let place = read(&text).filter(|place| written(*place) == text);
    place.map(Some).ok_or(Error::BadRequest("cursor must be the nextCursor of the page before"))
}

fn read(text: &str) -> Option<Place> {
    let unwrapped = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (created_at_ms, id) = unwrapped.split_once('.')?;
    Some(Place { created_at_ms: created_at_ms.parse().ok()?, id: SendId::parse(id)? })
}
