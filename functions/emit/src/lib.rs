//! `POST /api/events/emit`: tells users who are there now, without storing anything in their inboxes.

use lambda_http::{Body, Request, Response};
use shared::app::App;
use shared::emit::draft::{self, Draft};
use shared::emit::telling;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: draft::ROUTE, methods: &["POST"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("emit", request);
    call.answer(app, emit(app, &call)).await
}

async fn emit(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    // Whom it is for decides which of the two is needed. With neither, the body is not even read.
    caller.needs("notify:send").or_else(|_| caller.needs("notify:admin"))?;
    let members = call.body()?;
    caller.needs(if draft::is_for_all(&members) { "notify:admin" } else { "notify:send" })?;
    let draft = Draft::read(&caller.user, members, call.header("idempotency-key").as_deref())?;
    telling::emit(app, &draft).await?;
    Ok(Reply::accepted(format!(r#"{{"eventId":"{}"}}"#, draft.id), false))
}
