//! `POST /api/notifications/send`: one call, up to 1,000 notifications, stored before the call is answered. A scheduled
//! send can be cancelled until its delivery starts. `POST /api/push/send` is the same, ringing by Web Push only.

use lambda_http::{Body, Request, Response};
use shared::app::App;
use shared::auth::Caller;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::inbox::accept;
use shared::inbox::send::NewSend;
use shared::inbox::sends::Cancelled;

const SCHEDULED: &str = "/api/notifications/scheduled/{sendId}";
const PUSH: &str = "/api/push/send";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: "/api/notifications/send", methods: &["POST"] },
    Route { path: SCHEDULED, methods: &["DELETE"] },
    Route { path: PUSH, methods: &["POST"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("send", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (route, _) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    caller.needs("notify:send")?;
    if route == SCHEDULED { cancel(app, call, &caller).await } else { send(app, call, &caller, route).await }
}

async fn send(app: &App, call: &Call, caller: &Caller, route: &str) -> Result<Reply, Error> {
    let (body, key) = (call.body()?, call.header("idempotency-key"));
    let send = if route == PUSH {
        NewSend::read_push_only(body, key.as_deref())
    } else {
        NewSend::read(body, key.as_deref())
    }?;
    let accepted = accept::accept(app, caller, route, send).await?;
    Ok(Reply::accepted(accepted.answer, accepted.replayed))
}

async fn cancel(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.send_id()?;
    call.optional_body()?.finish()?;
    match app.record.sends.cancel(id, &caller.user).await? {
        Cancelled::Done => Ok(Reply::done()),
        Cancelled::Started => Err(Error::Conflict("delivery has already started")),
        Cancelled::Unknown => Err(Error::NotFound),
    }
}
