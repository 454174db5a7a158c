//! `GET /api/notifications`: pages of the inbox, newest first.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::cursor::Cursor;
use shared::error::Error;
use shared::http::call::Call;
use shared::http::fields::Fields;
use shared::http::reply::Reply;
use shared::inbox::notification::Notification;
use shared::inbox::{Listed, Page};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    items: Vec<Notification>,
    next_cursor: Option<String>,
    unread_count: i64,
    cursor: Cursor,
}

pub(crate) async fn list(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let after = next_cursor(&mut fields)?;
    let limit = fields.limit(50, 200);
    let kind = fields.text("type", 1, 64);
    let unread = flag(&mut fields, "unread");
    fields.finish()?;
    let page = Page { before: after.map(|after| after.offset), limit, kind, unread };
    let Listed { notifications, more, position } = app.record.inbox.list(&caller.user, &page, app.clock.at()).await?;
    if after.is_some_and(|after| after.epoch != position.epoch) {
        return Err(Error::CursorExpired);
    }
    let last = notifications.last().filter(|_| more);
    let next_cursor = last.map(|last| URL_SAFE_NO_PAD.encode(last.cursor.to_string()));
    let (unread_count, cursor) = (position.unread, position.cursor());
    Ok(Reply::ok(&List { items: notifications, next_cursor, unread_count, cursor }))
}

fn flag(fields: &mut Fields, name: &str) -> bool {
    let Some(text) = fields.parameter(name) else {
        return false;
    };
    let flag = fields.checked(name, text, |text| match text.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    });
    flag.unwrap_or(false)
}

/// Where the page before ended: a cursor in a wrapping that keeps it from being taken for one to sync from.
fn next_cursor(fields: &mut Fields) -> Result<Option<Cursor>, Error> {
    let Some(text) = fields.parameter("cursor") else {
        return Ok(None);
    };
    let unwrapped = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let cursor = unwrapped.and_then(|text| text.parse().ok());
    cursor.map(Some).ok_or(Error::BadRequest("cursor must be the nextCursor of the page before"))
}
