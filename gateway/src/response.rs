//! The HTTP responses that the gateway sends, and those that it generates itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use serde::Serialize;

use crate::relay::RelayedBody;

/// A response with its whole body, since HTTP APIs never stream.
pub(crate) type GatewayResponse = Response<Full<Bytes>>;

/// Any response: one with its whole body, or a stream of the REST API.
pub(crate) type Answer = Response<Either<Full<Bytes>, RelayedBody>>;

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> GatewayResponse {
    let mut response = GatewayResponse::default();
    *response.status_mut() = status;
    response
}

/// A response in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> GatewayResponse {
    let text =
        serde_json::to_vec(body).expect("the gateway's responses have string keys and members that always serialise");
    json_text(status, text.into())
}

/// A response whose JSON is already serialised.
pub(crate) fn json_text(status: StatusCode, text: Bytes) -> GatewayResponse {
    let mut response = GatewayResponse::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `{"message":"…"}`, the format of API Gateway's errors.
pub(crate) fn message(status: StatusCode, text: &str) -> GatewayResponse {
    #[derive(Serialize)]
    struct Message<'a> {
        message: &'a str,
    }
    json(status, &Message { message: text })
}

/// The response if the function failed or its output is malformed.
pub(crate) fn internal_server_error() -> GatewayResponse {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}
