//! `nextCursor` of the dead letters: where a page ended, in a wrapping that keeps it from being taken for a cursor to sync
//! from.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::delivery::dead_letters::DeadLetterKey;
use shared::error::Error;
use shared::http::fields::Fields;
use shared::ids::DeadLetterId;

pub(crate) fn written(DeadLetterKey { at_ms, id }: DeadLetterKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at_ms}.{id}"))
}

/// Where the page before ended; `None` for the first.
pub(crate) fn after(fields: &mut Fields) -> Result<Option<DeadLetterKey>, Error> {
    let Some(text) = fields.parameter("cursor") else {
        return Ok(None);
    };
    let place = read(&text).filter(|place| written(*place) == text);
    place.map(Some).ok_or(Error::BadRequest("cursor must be the nextCursor of the page before"))
}

fn read(text: &str) -> Option<DeadLetterKey> {
    let unwrapped = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (at_ms, id) = unwrapped.split_once('.')?;
    Some(DeadLetterKey { at_ms: at_ms.parse().ok()?, id: DeadLetterId::parse(id)? })
}
