//! What administrators do about users: revoke their tokens, and erase them.

use lambda_http::{Body, Request, Response};
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::fields::Fields;
use shared::http::reply::Reply;
use shared::ids::UserId;
use shared::presence::leaving::leave;
use shared::protocol::{self, ReplyFrame};
use shared::sockets::outgoing;
use shared::users::erasing::erase;

const REVOKE: &str = "/api/users/revoke";
const ERASE: &str = "/api/users/erase";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: REVOKE, methods: &["POST"] }, Route { path: ERASE, methods: &["POST"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// How long before its deadline a call begins no further step of an erasure, in milliseconds: a step may wait for locks, and
/// is retried if it loses against other work.
const DEADLINE_MARGIN_MS: i64 = 12_000;
/// How long a call without a deadline erases, in milliseconds.
const MAX_ERASING_MS: i64 = 15_000;

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("users", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let begun_ms = app.clock.now_ms();
    let (path, _) = call.route(ROUTES)?;
    call.caller(app).await?.needs("notify:admin")?;
    let user = user(call)?;
    revoke(app, &user).await?;
    if path != ERASE {
        return Ok(Reply::done());
    }
    let until_ms = call.deadline_ms().map_or(begun_ms + MAX_ERASING_MS, |end_ms| end_ms - DEADLINE_MARGIN_MS);
    let is_complete = erase(app, &user, until_ms).await?;
    tracing::info!(is_complete, "a user was erased, as far as there was time");
    Ok(Reply::accepted(format!(r#"{{"complete":{is_complete}}}"#), false))
}

/// The user in the body.
fn user(call: &Call) -> Result<UserId, Error> {
    let mut fields = Fields::new(call.body()?);
    let user = fields.take("userId");
    let user = fields.required("userId", user).and_then(|user| {
        fields.checked("userId", user, |user| match user.as_str() {
            Some(user) => UserId::new(user).map_err(str::to_owned),
            None => Err("must be a string".into()),
        })
    });
    fields.finish()?;
    // Unreachable: without a user, `finish` has already failed.
    user.ok_or(Error::Internal)
}

async fn revoke(app: &App, user: &UserId) -> Result<(), Error> {
    let connections = app.record.revocations.revoke(user, app.clock.at()).await?;
    app.revoked_users.read_soon().await;
    // They are no longer registered, so nothing more is pushed to them; closing them only makes it visible.
    let frame = protocol::frame(&ReplyFrame::error(None, &Error::TokenExpired));
    outgoing::close_with(app, &connections, &frame).await;
    leave(app, connections.iter().map(|connection| (user, connection))).await;
    tracing::info!(connections = connections.len(), "the tokens of a user were revoked");
    Ok(())
}
