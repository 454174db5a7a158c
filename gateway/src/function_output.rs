//! Turns what a function returned into an HTTP response, by the rules of payload format 2.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

use crate::http_event::is_hop_by_hop;
use crate::response::{self, GatewayResponse};

/// The response for a function's output; 500 if the output is malformed.
pub(crate) fn to_response(output: Bytes) -> GatewayResponse {
    match serde_json::from_slice(&output) {
        Ok(Value::Object(members)) if members.contains_key("statusCode") => {
            structured(&members).unwrap_or_else(response::internal_server_error)
        }
        // Any other output is the body itself. Like API Gateway, this does not check that it is JSON.
        _ => response::json_text(StatusCode::OK, output),
    }
}

/// The status code in a function's output, if it is a final one (200 to 599).
pub(crate) fn status(members: &Map<String, Value>) -> Option<StatusCode> {
    let code = members.get("statusCode")?.as_u64()?;
    StatusCode::from_u16(u16::try_from(code).ok()?).ok().filter(|status| (200..600).contains(&status.as_u16()))
}

/// The decoded body in a function's output. An absent or null body is empty; `None` if it is malformed.
pub(crate) fn body(members: &Map<String, Value>) -> Option<Bytes> {
    let text = match members.get("body") {
        None | Some(Value::Null) => return Some(Bytes::new()),
        Some(Value::String(text)) => text,
        Some(_) => return None,
    };
    match members.get("isBase64Encoded") {
        Some(Value::Bool(true)) => STANDARD.decode(text).ok().map(Bytes::from),
        _ => Some(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn structured(members: &Map<String, Value>) -> Option<GatewayResponse> {
    let mut response = Response::new(Full::new(body(members)?));
    *response.status_mut() = status(members)?;
    put_headers(members.get("headers"), response.headers_mut())?;
    put_cookies(members.get("cookies"), response.headers_mut())?;
    if !response.headers().contains_key(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    Some(response)
}

/// Ignores `multiValueHeaders`, as format 2.0 does.
fn put_headers(given: Option<&Value>, headers: &mut HeaderMap) -> Option<()> {
    let given = match given {
        None | Some(Value::Null) => return Some(()),
        Some(Value::Object(given)) => given,
        Some(_) => return None,
    };
    for (name, value) in given {
        let name = HeaderName::try_from(name).ok()?;
        // The length follows from the body, and hop-by-hop headers are up to the gateway.
        if let Some(value) = header_value(value)?
            && name != header::CONTENT_LENGTH
            && !is_hop_by_hop(&name)
        {
            headers.insert(name, value);
        }
    }
    Some(())
}

/// The value of a header in a function's output; `Some(None)` if it is null, `None` if it is malformed.
pub(crate) fn header_value(value: &Value) -> Option<Option<HeaderValue>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => HeaderValue::try_from(text).ok().map(Some),
        Value::Bool(_) | Value::Number(_) => HeaderValue::try_from(value.to_string()).ok().map(Some),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Adds a `Set-Cookie` for each cookie in a function's output; `None` if they are malformed.
pub(crate) fn put_cookies(given: Option<&Value>, headers: &mut HeaderMap) -> Option<()> {
    let cookies = match given {
        None | Some(Value::Null) => return Some(()),
        Some(Value::Array(cookies)) => cookies,
        Some(_) => return None,
    };
    for cookie in cookies {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie.as_str()?).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(output: &'static str) -> u16 {
        to_response(Bytes::from_static(output.as_bytes())).status().as_u16()
    }

    #[test]
    fn an_output_with_a_status_code_is_a_response() {
        assert_eq!(status_of(r#"{"statusCode":201}"#), 201);
        assert_eq!(status_of(r#"{"statusCode":404,"headers":{"x-a":1},"multiValueHeaders":{},"body":null}"#), 404);
        assert_eq!(status_of(r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true,"cookies":["a=1"]}"#), 200);
    }

    #[test]
    fn an_output_without_a_status_code_is_the_body() {
        for output in [r#""Hello""#, "null", "{}", "[1]", "not json", r#"{"statuscode":1}"#] {
            assert_eq!(status_of(output), 200, "{output}");
        }
    }

    #[test]
    fn a_malformed_response_is_an_internal_server_error() {
        for output in [
            r#"{"statusCode":0}"#,
            r#"{"statusCode":"200"}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":200,"body":{}}"#,
            r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"line\nbreak"}}"#,
            r#"{"statusCode":200,"headers":[]}"#,
            r#"{"statusCode":200,"cookies":"a=1"}"#,
        ] {
            assert_eq!(status_of(output), 500, "{output}");
        }
    }
}
