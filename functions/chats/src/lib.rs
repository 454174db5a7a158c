//! Chats over HTTP: create, list, change, talk and read. To a caller who is not a member, no chat exists.

mod lists;

use std::collections::BTreeMap;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::chat::chats::Change;
use shared::chat::draft::Draft;
use shared::chat::joining::{self, Opened};
use shared::chat::writing::{self, Written};
use shared::chat::{MAX_MEMBERS, OwnChat, reading};
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::fields::Fields;
use shared::http::reply::Reply;
use shared::ids::{ChatId, UserId};
use shared::protocol;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: "/api/chats", methods: &["GET", "POST"] },
    Route { path: "/api/chats/unread", methods: &["GET"] },
    Route { path: "/api/chats/{id}", methods: &["GET", "PATCH", "DELETE"] },
    Route { path: "/api/chats/{id}/accept", methods: &["POST"] },
    Route { path: "/api/chats/{id}/decline", methods: &["POST"] },
    Route { path: "/api/chats/{id}/leave", methods: &["POST"] },
    Route { path: "/api/chats/{id}/members", methods: &["GET", "POST"] },
    Route { path: "/api/chats/{id}/members/remove", methods: &["POST"] },
    Route { path: "/api/chats/{id}/messages", methods: &["GET", "POST"] },
    Route { path: "/api/chats/{id}/read", methods: &["POST"] },
    Route { path: "/api/chats/{id}/restore", methods: &["POST"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// How many chats `unread` looks at: those with the newest activity.
const MAX_COUNTED: usize = 2_000;

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("chats", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, method) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    match (path, method) {
        ("/api/chats", "GET") => lists::chats(app, call, &caller).await,
        ("/api/chats", _) => create(app, call, &caller).await,
        ("/api/chats/unread", _) => unread(app, call, &caller).await,
        ("/api/chats/{id}", "GET") => one(app, call, &caller).await,
        ("/api/chats/{id}", "PATCH") => rename(app, call, &caller).await,
        ("/api/chats/{id}", _) => set_hidden(app, call, &caller, true).await,
        ("/api/chats/{id}/accept", _) => respond(app, call, &caller, Change::Accept).await,
        ("/api/chats/{id}/decline", _) => respond(app, call, &caller, Change::Decline).await,
        ("/api/chats/{id}/leave", _) => leave(app, call, &caller).await,
        ("/api/chats/{id}/members", "GET") => lists::members(app, call, &caller).await,
        ("/api/chats/{id}/members", _) => change_members(app, call, &caller, Change::Add).await,
        ("/api/chats/{id}/members/remove", _) => change_members(app, call, &caller, Change::Remove).await,
        ("/api/chats/{id}/messages", "GET") => lists::messages(app, call, &caller).await,
        ("/api/chats/{id}/messages", _) => write(app, call, &caller).await,
        ("/api/chats/{id}/read", _) => read(app, call, &caller).await,
        ("/api/chats/{id}/restore", _) => set_hidden(app, call, &caller, false).await,
        _ => Err(Error::NotFound),
    }
}

async fn create(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let request = joining::Request::read(call.body()?, &caller.user)?;
    let Opened { chat, is_new } = joining::create(app, &caller.user, &request).await?;
    Ok(if is_new { Reply::created(&chat) } else { Reply::ok(&chat) })
}

async fn one(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    call.query()?.finish()?;
    let found: Option<OwnChat> = app.record.chats.find(id, &caller.user).await?;
    found.map(|chat| Reply::ok(&chat)).ok_or(Error::NotFound)
}

#[derive(Serialize)]
struct UnreadCounts {
    total: i64,
    chats: BTreeMap<String, i64>,
}

async fn unread(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    call.query()?.finish()?;
    let summaries = app.record.chats.summaries(&caller.user, MAX_COUNTED).await?;
    let unread = summaries.iter().filter(|chat| chat.unread > 0);
    let chats: BTreeMap<String, i64> = unread.map(|chat| (chat.chat_id.to_string(), chat.unread)).collect();
    Ok(Reply::ok(&UnreadCounts { total: chats.values().sum(), chats }))
}

async fn rename(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let mut fields = Fields::new(call.body()?);
    let title = fields.take("title");
    let title = fields.required("title", title);
    let title = title.and_then(|title| fields.checked("title", title, joining::checked_title));
    fields.finish()?;
    // Unreachable: without a title, `finish` has already failed.
    change(app, caller, id, &Change::Rename(title.ok_or(Error::Internal)?)).await
}

async fn respond(app: &App, call: &Call, caller: &Caller, response: Change) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    call.optional_body()?.finish()?;
    change(app, caller, id, &response).await
}

/// Adds or removes the members that the body names.
async fn change_members(
    app: &App,
    call: &Call,
    caller: &Caller,
    of: impl FnOnce(Vec<UserId>) -> Change,
) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let mut fields = Fields::new(call.body()?);
    let users = fields.users("userIds", MAX_MEMBERS);
    fields.finish()?;
    // Unreachable: without users, `finish` has already failed.
    change(app, caller, id, &of(users.ok_or(Error::Internal)?)).await
}

async fn change(app: &App, caller: &Caller, id: ChatId, change: &Change) -> Result<Reply, Error> {
    let chat = joining::change(app, &caller.user, id, change).await?;
    chat.map(|chat| Reply::ok(&chat)).ok_or(Error::NotFound)
}

async fn leave(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    call.optional_body()?.finish()?;
    joining::change(app, &caller.user, id, &Change::Leave).await?;
    Ok(Reply::done())
}

async fn set_hidden(app: &App, call: &Call, caller: &Caller, hidden: bool) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    call.optional_body()?.finish()?;
    let is_member = app.record.chats.set_hidden(id, &caller.user, hidden, app.clock.at()).await?;
    if is_member { Ok(Reply::done()) } else { Err(Error::NotFound) }
}

async fn write(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let draft = Draft::read(call.body()?)?;
    let Written { message, is_repeat } = writing::write(app, &caller.user, id, &draft).await?;
    Ok(if is_repeat { Reply::ok(&message) } else { Reply::created(&message) })
}

#[derive(Serialize)]
struct Unread {
    unread: i64,
}

async fn read(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let mut fields = Fields::new(call.body()?);
    let seq = protocol::read_seq(&mut fields);
    fields.finish()?;
    // Unreachable: without a `seq`, `finish` has already failed.
    let unread = reading::read(app, &caller.user, id, seq.ok_or(Error::Internal)?).await?;
    Ok(Reply::ok(&Unread { unread }))
}
