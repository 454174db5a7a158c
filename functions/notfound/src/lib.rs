//! `$default` of the HTTP API: answers every path that no other function serves with a 404 in Carillon's error format.

use lambda_http::{Body, Request, Response};
use shared::error::Error;
use shared::http::call::Call;

/// Answers every call with 404.
pub async fn handle(request: Request) -> Response<Body> {
    let call = Call::new("notfound", request);
    call.answer_uncounted(async { Err(Error::NotFound) }).await
}
