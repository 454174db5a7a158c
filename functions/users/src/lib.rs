//! What administrators do about users: revoke their tokens.

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

const REVOKE: &str = "/api/users/revoke";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: REVOKE, methods: &["POST"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    call.answer(app, revoke(app, &call).await).await
}

async fn revoke(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    call.caller(app).await?.needs("notify:admin")?;
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
    let user = user.ok_or(Error::Internal)?;
    let connections = app.record.revocations.revoke(&user, app.clock.at()).await?;
    app.revoked_users.read_soon().await;
    // They are no longer registered, so nothing more is pushed to them; closing them only makes it visible.
    let frame = protocol::frame(&ReplyFrame::error(None, &Error::TokenExpired));
    outgoing::close_with(app, &connections, &frame).await;
    leave(app, connections.iter().map(|connection| (&user, connection))).await;
    tracing::info!(connections = connections.len(), "the tokens of a user were revoked");
    Ok(Reply::done())
}
