//! The management API, `/{stage}/@connections/{id}`: `PostToConnection`, `GetConnection` and `DeleteConnection`.
//! It is called for every frame that functions push, so it reads little and holds no lock while it waits.

use std::net::IpAddr;

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::body::BodyError;
use crate::connections::{Connection, MAX_MESSAGE_BYTES};
use crate::ids;
use crate::outgoing::{Closing, QueueOutcome};
use crate::request::percent_decode;
use crate::response::{self, GatewayResponse};
use crate::site::Site;
use crate::timestamps;

/// Why a call failed. Each has a type in `x-amzn-ErrorType`, by which SDKs recognise the error.
enum Failure {
    Gone,
    InvalidId(String),
    PayloadTooLarge,
    Payload(&'static str),
    /// The client does not read and its queue is full, or too many payloads are under way.
    LimitExceeded,
    UnknownOperation,
}

/// The id in a path below the stage, still percent-encoded; `None` if the path is not one of this API.
pub(crate) fn connection_id(path_in_stage: &str) -> Option<&str> {
    let id = ["@connections/", "%40connections/"].iter().find_map(|root| path_in_stage.strip_prefix(root))?;
    (!id.contains('/')).then_some(id)
}

/// Answers a call about one connection.
pub(crate) async fn answer(site: &Site, encoded_id: &str, request: Request<Incoming>) -> GatewayResponse {
    let outcome = match percent_decode(encoded_id) {
        Some(id) if ids::is_gateway_id(&id) => call(site, &id, request).await,
        _ => Err(Failure::InvalidId(encoded_id.to_owned())),
    };
    let mut response = outcome.unwrap_or_else(Failure::into_response);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-amzn-requestid"), header_value(ids::request_uuid()));
    headers.insert(HeaderName::from_static("x-amz-apigw-id"), header_value(ids::request_id()));
    response
}

async fn call(site: &Site, id: &str, request: Request<Incoming>) -> Result<GatewayResponse, Failure> {
    match *request.method() {
        Method::POST => post(site, id, request.into_body()).await,
        Method::GET => site.connections.get(id).map(|connection| connection_info(&connection)).ok_or(Failure::Gone),
        Method::DELETE => {
            // Removed here, so that it is gone when the answer arrives. Its own task calls $disconnect.
            site.connections.remove(id).ok_or(Failure::Gone)?.close(Closing::normal());
            Ok(response::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Failure::UnknownOperation),
    }
}

async fn post(site: &Site, id: &str, body: Incoming) -> Result<GatewayResponse, Failure> {
    let (payload, _room) = site.push_bodies.read(body, MAX_MESSAGE_BYTES).await.map_err(|error| {
        site.count_refused_body(error, "refused a push");
        match error {
            BodyError::TooLarge => Failure::PayloadTooLarge,
            BodyError::TimedOut => Failure::Payload("the payload did not arrive in time"),
            BodyError::Incomplete => Failure::Payload("the payload is incomplete"),
            BodyError::NoRoom => Failure::LimitExceeded,
        }
    })?;
    let connection = site.connections.get(id).ok_or(Failure::Gone)?;
    let text = Utf8Bytes::try_from(payload).map_err(|_| Failure::Payload("the payload must be UTF-8"))?;
    match connection.enqueue(text, site.clock.now_ms()) {
        QueueOutcome::Queued => Ok(response::empty(StatusCode::OK)),
        QueueOutcome::Full => Err(Failure::LimitExceeded),
        QueueOutcome::Gone => Err(Failure::Gone),
    }
}

fn connection_info(connection: &Connection) -> GatewayResponse {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ConnectionInfo<'a> {
        connected_at: String,
        identity: Identity<'a>,
        last_active_at: String,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Identity<'a> {
        source_ip: IpAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_agent: Option<&'a str>,
    }
    let identity = Identity { source_ip: connection.source_ip, user_agent: connection.user_agent.as_deref() };
    response::json(
        StatusCode::OK,
        &ConnectionInfo {
            connected_at: timestamps::with_milliseconds(connection.connected_at_ms),
            identity,
            last_active_at: timestamps::with_milliseconds(connection.last_active_ms()),
        },
    )
}

impl Failure {
    fn into_response(self) -> GatewayResponse {
        let (status, kind, message) = match self {
            Self::Gone => (StatusCode::GONE, "GoneException", None),
            Self::InvalidId(id) => {
                (StatusCode::BAD_REQUEST, "BadRequestException", Some(format!("Invalid connectionId: {id}")))
            }
            Self::PayloadTooLarge => {
                let message = format!("the payload must be at most {MAX_MESSAGE_BYTES} bytes");
                (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", Some(message))
            }
            Self::Payload(problem) => (StatusCode::BAD_REQUEST, "BadRequestException", Some(problem.to_owned())),
            Self::LimitExceeded => (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", None),
            Self::UnknownOperation => {
                let message = "Missing Authentication Token".to_owned();
                (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", Some(message))
            }
        };
        let mut response =
            response::json(status, &serde_json::json!({ "message": message.map_or(Value::Null, Value::from) }));
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(kind));
        response
    }
}

fn header_value(id: String) -> HeaderValue {
    HeaderValue::try_from(id).expect("an id consists of letters, digits, -, _ and =")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_at_sign_may_be_encoded() {
        assert_eq!(connection_id("@connections/abc%3D"), Some("abc%3D"));
        assert_eq!(connection_id("%40connections/abc="), Some("abc="));
        for other in ["@connections", "connections/abc", "@connections/a/b", "x@connections/abc"] {
            assert_eq!(connection_id(other), None, "{other}");
        }
    }
}
