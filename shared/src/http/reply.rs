//! HTTP responses. Status codes and error bodies are decided only here.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::error::Error;

/// A response that is not an error.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    body: Option<String>,
    headers: Vec<(HeaderName, String)>,
}

impl Reply {
    /// 200 with JSON.
    pub fn ok(content: &impl Serialize) -> Self {
        Self::with_json(200, json(content))
    }

    /// 200 with text of this content type.
    pub fn text(text: impl Into<String>, content_type: &'static str) -> Self {
        Self::with_json(200, text.into()).header(CONTENT_TYPE, content_type)
    }

    /// 201 with JSON.
    pub fn created(content: &impl Serialize) -> Self {
        Self::with_json(201, json(content))
    }

    /// 202 with serialised JSON. A repeat has the header `Idempotency-Replayed: true`.
    pub fn accepted(json: String, replayed: bool) -> Self {
        let reply = Self::with_json(202, json);
        if replayed { reply.header(HeaderName::from_static("idempotency-replayed"), "true") } else { reply }
    }

    /// 202 without a body: the work was begun.
    pub fn begun() -> Self {
        Self { status: 202, body: None, headers: Vec::new() }
    }

    /// 204: done, without a body.
    pub fn done() -> Self {
        Self { status: 204, body: None, headers: Vec::new() }
    }

    /// 304 with the `ETag` that is still current.
    pub fn not_modified(etag: &str) -> Self {
        Self { status: 304, body: None, headers: Vec::new() }.header(ETAG, etag)
    }

    /// 503 with JSON, for a health check that fails.
    pub fn down(content: &impl Serialize) -> Self {
        Self::with_json(503, json(content))
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn with_json(status: u16, json: String) -> Self {
        Self { status, body: Some(json), headers: Vec::new() }
    }
}

/// The result of a function behind the WebSocket API: a status for a handshake, a frame in reply to a frame.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketReply {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<SocketHeaders>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SocketHeaders {
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    www_authenticate: Option<&'static str>,
}

impl SocketReply {
    /// 200 without a frame.
    pub fn ok() -> Self {
        Self { status_code: 200, headers: None, body: None }
    }

    /// 200 with a frame for the client.
    pub fn frame(frame: &str) -> Self {
        Self { status_code: 200, headers: None, body: Some(frame.to_owned()) }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status_code
    }

    /// A refused handshake, with the status and body of the error.
    pub fn refused(error: &Error, request_id: &str) -> Self {
        let headers = SocketHeaders { content_type: "application/json", www_authenticate: challenge(error) };
        Self { status_code: status(error), headers: Some(headers), body: Some(error_body(error, request_id)) }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorMembers<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorMembers<'a> {
    code: &'static str,
    message: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<&'a str>>,
}

/// The JSON body of an error.
pub fn error_body(error: &Error, request_id: &str) -> String {
    let fields = match error {
        Error::ValidationFailed(problems) => Some(problems.fields().collect()),
        _ => None,
    };
    json(&ErrorBody {
        error: ErrorMembers {
            code: error.code(),
            message: error.to_string(),
            request_id,
            retry_after_ms: error.retry_after_ms(),
            fields,
        },
    })
}

/// The HTTP status of an error.
pub fn status(error: &Error) -> u16 {
    match error {
        Error::InvalidJson(_) | Error::BadRequest(_) => 400,
        Error::TokenMissing | Error::TokenExpired | Error::InvalidToken | Error::InvalidTicket => 401,
        Error::Forbidden(_) | Error::NotAllowed(_) | Error::OriginNotAllowed => 403,
        Error::NotFound => 404,
        Error::MethodNotAllowed(_) => 405,
        Error::Conflict(_) => 409,
        Error::CursorExpired => 410,
        Error::PayloadTooLarge(_) => 413,
        Error::UnsupportedMediaType => 415,
        Error::ValidationFailed(_) | Error::IdempotencyKeyReused => 422,
        Error::RateLimited { .. } => 429,
        Error::Internal => 500,
        Error::Overloaded | Error::StoreUnavailable | Error::KeysUnavailable | Error::OutcomeUnknown => 503,
    }
}

/// The response as Lambda returns it, with the headers that every response has.
pub fn respond(result: Result<Reply, Error>, request_id: &str) -> Response<Body> {
    let reply = result.unwrap_or_else(|error| error_reply(&error, request_id));
    let has_body = reply.body.is_some();
    let mut response = Response::new(reply.body.map_or(Body::Empty, Body::Text));
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).expect("every status in this file is a valid HTTP status");
    let headers = response.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // Every response is about a user, so no cache on the way may keep it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let ours = [(HeaderName::from_static("x-request-id"), request_id.to_owned())];
    for (name, value) in reply.headers.into_iter().chain(ours) {
        // Header values come from us or from API Gateway, never from a caller, so none is invalid.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

fn error_reply(error: &Error, request_id: &str) -> Reply {
    let mut reply = Reply::with_json(status(error), error_body(error, request_id));
    if let Some(wait_ms) = error.retry_after_ms() {
        reply = reply.header(RETRY_AFTER, wait_ms.div_ceil(1_000).to_string());
    }
    if let Some(challenge) = challenge(error) {
        reply = reply.header(WWW_AUTHENTICATE, challenge);
    }
    match error {
        Error::MethodNotAllowed(allowed) => reply.header(ALLOW, allowed.join(", ")),
        _ => reply,
    }
}

/// The challenge of a 401, which says how to authenticate (RFC 6750).
fn challenge(error: &Error) -> Option<&'static str> {
    match error {
        // Tickets come from bearer tokens.
        Error::TokenMissing | Error::InvalidTicket => Some("Bearer"),
        Error::TokenExpired | Error::InvalidToken => Some(r#"Bearer error="invalid_token""#),
        _ => None,
    }
}

fn json(content: &impl Serialize) -> String {
    serde_json::to_string(content).expect("responses consist of strings, numbers and maps with string keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problems;

    fn errors() -> [Error; 14] {
        [
            Error::InvalidJson(""),
            Error::TokenMissing,
            Error::TokenExpired,
            Error::InvalidToken,
            Error::InvalidTicket,
            Error::Forbidden(""),
            Error::NotFound,
            Error::ValidationFailed(Problems::default()),
            Error::RateLimited { retry_after_ms: 1 },
            Error::Internal,
            Error::Overloaded,
            Error::StoreUnavailable,
            Error::KeysUnavailable,
            Error::OutcomeUnknown,
        ]
    }

    #[test]
    fn exactly_the_server_faults_are_5xx() {
        for error in errors() {
            assert_eq!(error.is_server_error(), status(&error) >= 500, "{error}");
        }
    }

    #[test]
    fn exactly_what_may_succeed_later_says_when() {
        for error in errors() {
            let response = respond(Err(error.clone()), "id");
            let is_refused = matches!(response.status().as_u16(), 429 | 503);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), is_refused, "{error}");
        }
    }

    #[test]
    fn only_a_body_has_a_content_type() {
        for (reply, content_type) in [
            (Reply::ok(&1), Some("application/json")),
            (Reply::text("a", "text/css"), Some("text/css")),
            (Reply::begun(), None),
            (Reply::done(), None),
            (Reply::not_modified("\"1\""), None),
        ] {
            let response = respond(Ok(reply), "id");
            let found = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
            assert_eq!(found, content_type, "{}", response.status());
        }
    }

    #[test]
    fn exactly_the_401s_say_how_to_authenticate() {
        for error in errors() {
            let response = respond(Err(error.clone()), "id");
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), response.status() == 401, "{error}");
            let refused = serde_json::to_value(SocketReply::refused(&error, "id")).unwrap();
            assert_eq!(refused["headers"]["www-authenticate"].is_string(), refused["statusCode"] == 401, "{error}");
        }
    }
}
