//! The format of Server-Sent Events (WHATWG HTML, section 9.2).

use shared::cursor::Cursor;

/// A comment, which keeps proxies from closing a silent stream.
pub(crate) const COMMENT: &str = ":\n\n";

/// An event with this JSON. `id`: the position from which a client that has received it goes on.
pub(crate) fn event(json: &str, id: Option<Cursor>) -> String {
    // JSON as we write it has no line breaks.
    debug_assert!(!json.contains(['\n', '\r']));
    match id {
        Some(id) => format!("id: {id}\ndata: {json}\n\n"),
        None => format!("data: {json}\n\n"),
    }
}
