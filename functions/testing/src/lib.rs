//! Sends for manual testing, through the same path as every other send, and the metrics to watch meanwhile.
//! Available only if `ENABLE_TEST_ENDPOINTS` is on, and only to administrators.

use lambda_http::{Body, Request, Response};
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::inbox::accept;
use shared::inbox::send::NewSend;
use shared::telemetry::metrics;

const TRY: &str = "/api/test/redis-notification";
const SEND: &str = "/api/notifications/test";

/// The routes that this function answers.
pub const ROUTES: &[Route] =
    &[Route { path: TRY, methods: &["GET", "POST"] }, Route { path: SEND, methods: &["POST"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    call.answer(app, test(app, &call).await).await
}

async fn test(app: &App, call: &Call) -> Result<Reply, Error> {
    if !app.config.test_endpoints {
        return Err(Error::NotFound);
    }
    let (route, method) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    caller.needs("notify:admin")?;
    if method == "GET" {
        call.query()?.finish()?;
        return Ok(Reply::ok(&metrics::metrics(app).await));
    }
    let key = call.header("idempotency-key");
    let mut body = if route == TRY { call.optional_members()? } else { call.body()? };
    if !body.contains_key("userId") && !body.contains_key("userIds") {
        body.insert("userId".into(), caller.user.to_string().into());
    }
    if route == TRY {
        // Every field of a send is allowed; the defaults make it a test notification.
        body.entry("type").or_insert("TEST".into());
        let has_inner_title =
            ["data", "content"].iter().any(|name| body.get(*name).is_some_and(|data| data.get("title").is_some()));
        if !has_inner_title {
            body.entry("title").or_insert("A test".into());
        }
    }
    let send = NewSend::read(body, key.as_deref())?;
    let accepted = accept::accept(app, &caller, route, send).await?;
    Ok(Reply::accepted(accepted.answer, accepted.replayed))
}
