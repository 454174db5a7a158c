//! HTTP answers that the gateway itself gives.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What goes back over HTTP; always whole, since HTTP APIs never stream.
pub(crate) type GatewayResponse = Response<Full<Bytes>>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> GatewayResponse {
    let mut response = GatewayResponse::default();
    *response.status_mut() = status;
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> GatewayResponse {
    let text = serde_json::to_vec(body).expect("the gateway's answers have text keys and no failing members");
    json_text(status, text.into())
}

/// An answer in JSON that is already written.
pub(crate) fn json_text(status: StatusCode, text: Bytes) -> GatewayResponse {
    let mut response = GatewayResponse::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `{"message":"…"}`, the form of API Gateway's errors.
pub(crate) fn message(status: StatusCode, text: &str) -> GatewayResponse {
    #[derive(Serialize)]
    struct Message<'a> {
        message: &'a str,
    }
    json(status, &Message { message: text })
}

/// What the client gets when the function failed or its output is malformed.
pub(crate) fn internal_server_error() -> GatewayResponse {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}
