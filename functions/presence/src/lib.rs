//! `GET /api/presence`: who is online, of those whom the caller knows.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::presence::telling::ask;
use shared::presence::{MAX_ASKED, UserPresence};

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: "/api/presence", methods: &["GET"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("presence", request);
    call.answer(app, answer(app, &call)).await
}

#[derive(Serialize)]
struct Presence {
    users: Vec<UserPresence>,
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    let mut fields = call.query_with_list("userId")?;
    let among = fields.users_parameter("userIds", "userId", MAX_ASKED);
    fields.finish()?;
    // Unreachable: without users, `finish` has already failed.
    let among = among.ok_or(Error::Internal)?;
    let viewer = if caller.needs("notify:admin").is_ok() { None } else { Some(&caller.user) };
    Ok(Reply::ok(&Presence { users: ask(app, viewer, &among).await? }))
}
