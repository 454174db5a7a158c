//! A user's notifications over HTTP: list, read, mark, delete, snooze, sync and acknowledge. A caller reaches only its own
//! inbox.

mod page;

use http::header::ETAG;
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::cursor::Cursor;
use shared::delivery::wake::WAKE_WITHIN_MS;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::fields::Fields;
use shared::http::reply::Reply;
use shared::inbox::announce::announce;
use shared::inbox::notification::Notification;
use shared::inbox::snooze::{MAX_SNOOZE_MS, Snoozed};
use shared::inbox::sync::{self, Limits};
use shared::inbox::{Change, ChangeKind, Changed};
use shared::protocol;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: "/api/notifications", methods: &["GET"] },
    Route { path: "/api/notifications/unread-count", methods: &["GET"] },
    Route { path: "/api/notifications/read-all", methods: &["POST"] },
    Route { path: "/api/notifications/{id}", methods: &["GET", "DELETE"] },
    Route { path: "/api/notifications/{id}/read", methods: &["POST"] },
    Route { path: "/api/notifications/{id}/unread", methods: &["POST"] },
    Route { path: "/api/notifications/{id}/snooze", methods: &["POST"] },
    Route { path: "/api/sync", methods: &["GET"] },
    Route { path: "/api/ack", methods: &["POST"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("inbox", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, method) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    match (path, method) {
        ("/api/notifications", _) => page::list(app, call, &caller).await,
        ("/api/notifications/unread-count", _) => unread_count(app, call, &caller).await,
        ("/api/notifications/read-all", _) => read_all(app, call, &caller).await,
        ("/api/notifications/{id}", "GET") => one(app, call, &caller).await,
        ("/api/notifications/{id}", _) => mark(app, call, &caller, Change::Delete).await,
        ("/api/notifications/{id}/read", _) => mark(app, call, &caller, Change::Read).await,
        ("/api/notifications/{id}/unread", _) => mark(app, call, &caller, Change::Unread).await,
        ("/api/notifications/{id}/snooze", _) => snooze(app, call, &caller).await,
        ("/api/sync", _) => sync(app, call, &caller).await,
        ("/api/ack", _) => acknowledge(app, call, &caller).await,
        _ => Err(Error::NotFound),
    }
}

#[derive(Serialize)]
struct Count {
    count: i64,
}

async fn unread_count(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let kind = fields.text("type", 1, 64);
    fields.finish()?;
    let count = match kind {
        Some(kind) => app.record.inbox.unread_of_type(&caller.user, &kind, app.clock.at()).await?,
        None => app.record.inbox.position(&caller.user, app.clock.at()).await?.unread,
    };
    Ok(Reply::ok(&Count { count }))
}

async fn one(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.notification_id()?;
    call.query()?.finish()?;
    let found: Option<Notification> = app.record.inbox.find(&caller.user, id, app.clock.at()).await?;
    found.map(|notification| Reply::ok(&notification)).ok_or(Error::NotFound)
}

/// Marks or deletes the notification that the path names.
async fn mark(
    app: &App,
    call: &Call,
    caller: &Caller,
    change: impl FnOnce(Vec<shared::ids::NotificationId>) -> Change,
) -> Result<Reply, Error> {
    let id = call.notification_id()?;
    call.optional_body()?.finish()?;
    let changed = perform(app, caller, &change(vec![id])).await?;
    if changed.known == 0 { Err(Error::NotFound) } else { Ok(Reply::done()) }
}

/// Snoozes the notification that the path names.
async fn snooze(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.notification_id()?;
    let mut fields = Fields::new(call.body()?);
    let until = fields.instant("until");
    let until = fields.required("until", until);
    fields.finish()?;
    // Unreachable: without a time, `finish` has already failed.
    let until = until.ok_or(Error::Internal)?;
    let wait_ms = until.0.saturating_sub(app.clock.now_ms());
    if wait_ms > MAX_SNOOZE_MS {
        return Err(Error::field("until", "must be at most a year ahead"));
    }
    match app.record.snoozes.snooze(&caller.user, id, until, app.clock.at()).await? {
        Snoozed::Unknown => Err(Error::NotFound),
        Snoozed::TooLate => Err(Error::field("until", "must be earlier than the notification expires or is purged")),
        Snoozed::Done(changed) => {
            announce(app, &[&changed], ChangeKind::Snoozed).await;
            if wait_ms <= WAKE_WITHIN_MS {
                app.enqueue_and_wake(&[]).await;
            }
            Ok(Reply::done())
        }
    }
}

#[derive(Serialize)]
struct Updated {
    updated: usize,
}

async fn read_all(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.optional_body()?;
    let change = protocol::read_all(&mut fields)?;
    fields.finish()?;
    let changed = perform(app, caller, &change).await?;
    Ok(Reply::ok(&Updated { updated: changed.ids.len() }))
}

async fn perform(app: &App, caller: &Caller, change: &Change) -> Result<Changed, Error> {
    let changed = app.record.inbox.change(&caller.user, change, app.clock.at()).await?.ok_or(Error::CursorExpired)?;
    announce(app, &[&changed], change.kind()).await;
    Ok(changed)
}

async fn sync(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let since: Option<Cursor> = fields.cursor("since")?;
    let limit = fields.limit(200, 500);
    fields.finish()?;
    if let Some(tag) = call.header("if-none-match") {
        let (position, current) = sync::standing(app, &caller.user).await?;
        let at_head = since.is_none_or(|since| since == position.cursor());
        if at_head && current.matches(&tag) {
            if let Some(since) = since {
                sync::settle(app, &caller.user, &position, since).await?;
            }
            return Ok(Reply::not_modified(&tag));
        }
    }
    let sync = sync::sync(app, &caller.user, since, Limits::of_answer(limit)).await?;
    Ok(Reply::ok(&sync).header(ETAG, sync.etag.as_str()))
}

async fn acknowledge(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = Fields::new(call.body()?);
    let cursor = fields.cursor("cursor")?;
    let cursor = fields.required("cursor", cursor);
    fields.finish()?;
    // Unreachable: without a cursor, `finish` has already failed.
    let cursor = cursor.ok_or(Error::Internal)?;
    let known = app.record.inbox.acknowledge(&caller.user, cursor, app.clock.at()).await?;
    if known { Ok(Reply::done()) } else { Err(Error::CursorExpired) }
}
