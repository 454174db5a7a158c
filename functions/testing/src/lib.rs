//! Sends for manual testing, through the same path as every other send, the metrics to watch meanwhile, and an event over
//! event streams alone.
//! Available only if `ENABLE_TEST_ENDPOINTS` is on, and only to administrators.

use lambda_http::{Body, Request, Response};
use serde_json::{Map, Value, json};
use shared::app::App;
use shared::auth::Caller;
use shared::emit::draft::Draft;
use shared::emit::telling;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::inbox::accept;
use shared::inbox::send::NewSend;
use shared::telemetry::metrics;

const TRY: &str = "/api/test/redis-notification";
const SEND: &str = "/api/notifications/test";
const STREAM: &str = "/api/test/sse-notification";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: TRY, methods: &["GET", "POST"] },
    Route { path: SEND, methods: &["POST"] },
    Route { path: STREAM, methods: &["POST"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("testing", request);
    call.answer(app, test(app, &call)).await
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
    match route {
        STREAM => stream(app, &caller, call.optional_members()?, key.as_deref()).await,
        TRY => send(app, &caller, route, with_defaults(call.optional_members()?), key.as_deref()).await,
        _ => send(app, &caller, route, call.body()?, key.as_deref()).await,
    }
}

/// Sends a notification, to the caller unless the body names others.
async fn send(
    app: &App,
    caller: &Caller,
    route: &str,
    mut body: Map<String, Value>,
    key: Option<&str>,
) -> Result<Reply, Error> {
    if !body.contains_key("userId") && !body.contains_key("userIds") {
        body.insert("userId".into(), caller.user.to_string().into());
    }
    let accepted = accept::accept(app, caller, route, NewSend::read(body, key)?).await?;
    Ok(Reply::accepted(accepted.answer, accepted.replayed))
}

/// Adds what makes it a test notification. Every field of a send is allowed.
fn with_defaults(mut body: Map<String, Value>) -> Map<String, Value> {
    body.entry("type").or_insert("TEST".into());
    let has_inner_title =
        ["data", "content"].iter().any(|name| body.get(*name).is_some_and(|data| data.get("title").is_some()));
    if !has_inner_title {
        body.entry("title").or_insert("A test".into());
    }
    body
}

/// Emits an event to the event streams of the named users, or of the caller. Every field of an emitted event is allowed. The
/// answer says how many streams took it.
async fn stream(app: &App, caller: &Caller, mut body: Map<String, Value>, key: Option<&str>) -> Result<Reply, Error> {
    // With both, the name that an event does not have is refused.
    if !body.contains_key("userIds") {
        let user = body.remove("userId").unwrap_or_else(|| caller.user.to_string().into());
        body.insert("userIds".into(), json!([user]));
    }
    for (name, value) in [("type", "announcement"), ("name", "TEST"), ("title", "A test")] {
        body.entry(name).or_insert(value.into());
    }
    let draft = Draft::read(&caller.user, body, key)?;
    let users = draft.users.unwrap_or_default();
    let streams = telling::emit_to_streams(app, &draft.event, &users).await?;
    Ok(Reply::accepted(json!({"eventId": draft.id, "streams": streams}).to_string(), false))
}
