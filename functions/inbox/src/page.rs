//! `GET /api/notifications`: pages of the inbox, newest first.

use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::cursor::Cursor;
use shared::error::Error;
use shared::http::call::Call;
use shared::http::page_token::{self, List};
use shared::http::reply::Reply;
use shared::inbox::bounds::Bounds;
use shared::inbox::notification::Notification;
use shared::inbox::{Listed, Page};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InboxList {
    #[serde(flatten)]
    list: List<Notification>,
    unread_count: i64,
    cursor: Cursor,
}

pub(crate) async fn list(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let after: Option<Cursor> = page_token::take(&mut fields)?;
    let limit = fields.limit(50, 200);
    let kind = fields.text("type", 1, 64);
    let unread = fields.flag("unread");
    fields.finish()?;
    let page = Page { before: after.map(|after| after.offset), bounds: Bounds::of_answer(limit), kind, unread };
    let Listed { notifications, more, position } = app.record.inbox.list(&caller.user, &page, app.clock.at()).await?;
    if after.is_some_and(|after| after.epoch != position.epoch) {
        return Err(Error::CursorExpired);
    }
    let next = notifications.last().filter(|_| more).map(|last| last.cursor);
    let (unread_count, cursor) = (position.unread, position.cursor());
    Ok(Reply::ok(&InboxList { list: List::new(notifications, next), unread_count, cursor }))
}
