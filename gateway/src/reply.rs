//! HTTP answers that the gateway itself gives.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What goes back over HTTP; always whole, since HTTP APIs never stream.
pub(crate) type Reply = Response<Full<Bytes>>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    reply
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(body).expect("the gateway's answers have text keys and no failing members");
    json_text(status, text.into())
}

/// An answer in JSON that is already written.
pub(crate) fn json_text(status: StatusCode, text: Bytes) -> Reply {
    let mut reply = Reply::new(Full::new(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// `{"message":"…"}`, the form of API Gateway's errors.
pub(crate) fn message(status: StatusCode, text: &str) -> Reply {
    #[derive(Serialize)]
    struct Message<'a> {
        message: &'a str,
    }
    json(status, &Message { message: text })
}
