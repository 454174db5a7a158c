//! `POST /api/ws/ticket`: exchanges a bearer token for a one-time ticket that opens a socket, so that no token ever
//! appears in a URL.

use std::borrow::Cow;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::auth;
use shared::clock::Time;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::sockets::connections::Ticket;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: "/api/ws/ticket", methods: &["POST"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_URL"];

/// How long a ticket is valid.
const LIFETIME_MS: i64 = 30_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued<'a> {
    ticket: &'a str,
    expires_at: Time,
    url: &'a str,
    events_url: Option<&'a str>,
    ping_every_ms: u64,
}

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("tickets", request);
    call.answer(app, issue(app, &call)).await
}

async fn issue(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    let mut fields = call.optional_body()?;
    let from_body = fields.text("origin", 1, 300);
    fields.finish()?;
    // A back end names the origin of its browser in the body; a browser sends its own in the header.
    let origin = from_body.or_else(|| call.header("origin").map(Cow::into_owned));
    let origin = origin.map(|origin| origin.to_ascii_lowercase());
    if origin.as_ref().is_some_and(|origin| !app.config.allowed_origins.allow(origin)) {
        return Err(Error::OriginNotAllowed);
    }
    let url = app.config.ws_url.as_deref().ok_or(Error::Internal)?;
    let (ticket, hash) = auth::new_ticket()?;
    let expires_at_ms = (app.clock.now_ms() + LIFETIME_MS).min(caller.token_expires_at_ms);
    let stored = Ticket {
        hash,
        user: caller.user,
        origin,
        token_issued_at_s: caller.issued_at_s,
        token_expires_at_ms: caller.token_expires_at_ms,
        expires_at_ms,
    };
    if !app.record.connections.issue(&stored, app.clock.at()).await? {
        // The token was revoked after this process last asked.
        return Err(Error::InvalidToken);
    }
    let events_url = app.config.events_url.as_deref();
    let ping_every_ms = app.config.ping_every_ms;
    Ok(Reply::created(&Issued { ticket: &ticket, expires_at: Time(expires_at_ms), url, events_url, ping_every_ms }))
}
