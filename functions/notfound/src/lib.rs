//! `$default` of the HTTP API: whatever no other function serves gets our own 404.

use lambda_http::{Body, Request, Response};
use shared::error::Error;
use shared::http::call::Call;
use shared::http::reply;

/// Answers a call.
pub async fn handle(request: Request) -> Response<Body> {
    let call = Call::new(request);
    reply::respond(Err(Error::NotFound), call.request_id())
}
