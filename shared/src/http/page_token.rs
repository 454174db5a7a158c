//! Page tokens: where a page of a list ended, as the `cursor` and `nextCursor` of lists. They are encoded, so that a
//! client does not mistake one for a cursor to sync from.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::error::Error;
use crate::http::fields::Fields;

/// A page of a list, as the body of a response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of these items. `next` is where it ends, if more follow.
    pub fn new(items: Vec<T>, next: Option<impl Display>) -> Self {
        Self { items, next_cursor: next.map(|next| encode(&next)) }
    }
}

/// Takes the query parameter `cursor`: where the previous page ended; `None` for the first page. A token that [`List`]
/// did not produce is a `bad_request`.
pub fn take<T: Display + FromStr>(fields: &mut Fields) -> Result<Option<T>, Error> {
    let Some(token) = fields.parameter("cursor") else {
        return Ok(None);
    };
    let decoded = URL_SAFE_NO_PAD.decode(&token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place: Option<T> = decoded.and_then(|text| text.parse().ok());
    // Every position has one spelling.
    let place = place.filter(|place| encode(place) == token);
    place.map(Some).ok_or(Error::BadRequest("cursor must be the nextCursor of the previous page"))
}

fn encode(place: &impl Display) -> String {
    URL_SAFE_NO_PAD.encode(place.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cursor::Cursor;
    use crate::ids::SendId;
    use crate::page_key::PageKey;

    fn taken(token: &str) -> Result<Option<PageKey<SendId>>, Error> {
        let Value::Object(members) = json!({ "cursor": token }) else { unreachable!() };
        take(&mut Fields::new(members))
    }

    #[test]
    fn a_token_survives_a_round_trip() {
        let key = PageKey { at_ms: 1_800_000_000_000, id: SendId::random() };
        let list = serde_json::to_value(List::new(vec![1, 2], Some(key))).unwrap();
        assert_eq!(list["items"], json!([1, 2]));
        assert_eq!(taken(list["nextCursor"].as_str().unwrap()), Ok(Some(key)));
        assert_eq!(serde_json::to_value(List::<u8>::new(vec![], None::<Cursor>)).unwrap()["nextCursor"], Value::Null);
    }

    #[test]
    fn any_other_token_is_refused() {
        let id = SendId::random();
        for text in ["", "7", &format!("7.{id} "), &format!("07.{id}"), &format!("x.{id}"), "7.x"] {
            let token = URL_SAFE_NO_PAD.encode(text);
            assert!(matches!(taken(&token), Err(Error::BadRequest(_))), "{text}");
        }
        for token in ["", "=", "!", &format!("7.{id}")] {
            assert!(matches!(taken(token), Err(Error::BadRequest(_))), "{token}");
        }
    }
}
