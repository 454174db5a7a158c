//! `POST /api/notifications/send`: one call, up to 1,000 notifications, stored before it is answered.

use lambda_http::{Body, Request, Response};
use shared::accept;
use shared::app::App;
use shared::call::{Call, Route};
use shared::error::Error;
use shared::reply::Reply;
use shared::send::NewSend;

/// The paths of this function.
pub const ROUTES: &[Route] = &[Route { path: "/api/notifications/send", methods: &["POST"] }];
/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers a call.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    call.answer(app, send(app, &call).await).await
}

async fn send(app: &App, call: &Call) -> Result<Reply, Error> {
    let (route, _) = call.route(ROUTES)?;
    let caller = call.caller(app)?;
    caller.needs("notify:send")?;
    let send = NewSend::read(call.body()?, call.header("idempotency-key").as_deref())?;
    let accepted = accept::accept(app, &caller, route, send).await?;
    Ok(Reply::accepted(accepted.answer, accepted.replayed))
}
