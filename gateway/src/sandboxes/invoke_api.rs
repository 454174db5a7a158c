//! The part of Lambda's Invoke API that functions use: to invoke another function without waiting for it.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::payload::whole;
use crate::request::percent_decode;
use crate::response::{self, GatewayResponse};
use crate::template::function_in;

/// An asynchronous invocation that a function asked for.
#[derive(Debug)]
pub(super) struct AsyncInvocation {
    /// The name of the function to invoke.
    pub(super) function: String,
    /// The event.
    pub(super) event: Bytes,
}

/// Queues an event for a function, which is named by its name or its ARN.
pub(super) async fn answer(
    invoked: Option<&(BTreeSet<String>, mpsc::Sender<AsyncInvocation>)>,
    reference: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> GatewayResponse {
    let reference = percent_decode(reference).unwrap_or_default();
    let name = function_in(&reference);
    let Some((_, events)) = invoked.filter(|(functions, _)| functions.contains(name)) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "ResourceNotFoundException",
            &format!("Function not found: {reference}"),
        );
    };
    if headers.get("x-amz-invocation-type").is_none_or(|kind| kind != "Event") {
        let problem = "X-Amz-Invocation-Type must be Event: locally, functions invoke others only asynchronously";
        return refusal(StatusCode::BAD_REQUEST, "InvalidParameterValueException", problem);
    }
    let event = match whole(body).await {
        // A call without an event has an empty one.
        Some(Ok(event)) if event.is_empty() => Bytes::from_static(b"{}"),
        Some(Ok(event)) => event,
        Some(Err(_)) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", "it is too large"),
        None => return refusal(StatusCode::BAD_REQUEST, "InvalidRequestContentException", "it is incomplete"),
    };
    match events.try_send(AsyncInvocation { function: name.to_owned(), event }) {
        Ok(()) => with_request_id(response::empty(StatusCode::ACCEPTED)),
        Err(_) => refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded."),
    }
}

/// A refusal in the form of the Invoke API.
fn refusal(status: StatusCode, error_type: &'static str, message: &str) -> GatewayResponse {
    let mut response = with_request_id(response::json(status, &json!({"Type": "User", "Message": message})));
    let error_type = HeaderValue::from_static(error_type);
    response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), error_type);
    response
}

fn with_request_id(mut response: GatewayResponse) -> GatewayResponse {
    let id = HeaderValue::try_from(Uuid::new_v4().to_string()).expect("a UUID consists of visible characters");
    response.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), id);
    response
}
