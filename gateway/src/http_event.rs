//! The event of an HTTP API in payload format 2.0.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::invocation::MAX_PAYLOAD_BYTES;
use crate::request::{query_pairs, without_port};
use crate::template::resolve::ACCOUNT_ID;
use crate::timestamps;

/// A request with the route that it matched: everything that its event is made of.
pub(crate) struct RoutedRequest<'a> {
    pub(crate) method: &'a str,
    /// The path, decoded once.
    pub(crate) path: &'a str,
    /// The query as it was sent, still percent-encoded.
    pub(crate) query: &'a str,
    /// The HTTP version, such as `HTTP/1.1`.
    pub(crate) protocol: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    /// The Host header.
    pub(crate) host: &'a str,
    pub(crate) source_ip: &'a str,
    /// The port that the gateway listens on.
    pub(crate) port: u16,
    pub(crate) route_key: &'a str,
    pub(crate) path_parameters: Vec<(&'a str, String)>,
    pub(crate) api_id: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) stage_variables: &'a BTreeMap<String, String>,
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: &'a str,
    pub(crate) now_ms: i64,
}

/// Absent members are left out: AWS sends neither nulls nor empty mappings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    query_string_parameters: Map<String, Value>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    path_parameters: Map<String, Value>,
    is_base64_encoded: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stage_variables: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'a str,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    source_ip: &'a str,
    user_agent: String,
}

/// The event as JSON; `None` if Lambda would not take it because it is too long.
pub(crate) fn http_event(request: RoutedRequest<'_>) -> Option<Bytes> {
    let (body, is_base64_encoded) = body_text(request.headers, request.body);
    let domain_prefix = without_port(request.host).split('.').next().unwrap_or_default();
    let event = Event {
        version: "2.0",
        route_key: request.route_key,
        raw_path: request.path,
        raw_query_string: request.query,
        cookies: cookies(request.headers),
        headers: headers(&request),
        query_string_parameters: join_values(query_pairs(request.query)),
        request_context: RequestContext {
            account_id: ACCOUNT_ID,
            api_id: request.api_id,
            domain_name: request.host,
            domain_prefix,
            http: Http {
                method: request.method,
                path: request.path,
                protocol: request.protocol,
                source_ip: request.source_ip,
                user_agent: request.headers.get(header::USER_AGENT).map(header_text).unwrap_or_default(),
            },
            request_id: request.request_id,
            route_key: request.route_key,
            stage: request.stage,
            time: timestamps::log_format(request.now_ms),
            time_epoch: request.now_ms,
        },
        body,
        path_parameters: request.path_parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        is_base64_encoded,
        stage_variables: request.stage_variables,
    };
    to_json(&event)
}

/// An event as JSON; `None` if Lambda would not take it because it is too long.
pub(crate) fn to_json(event: &impl Serialize) -> Option<Bytes> {
    let mut text = EventText(Vec::new());
    match serde_json::to_writer(&mut text, event) {
        Ok(()) => Some(text.0.into()),
        Err(error) => {
            assert!(error.is_io(), "an event has string keys and members that always serialise: {error}");
            None
        }
    }
}

/// Fails at the limit, because a body of control characters would be six times as long in an event.
struct EventText(Vec<u8>);

impl io::Write for EventText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a header concerns a single hop, and so is not passed on in an event or an answer.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 6] = [
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
    ];
    NAMES.contains(name) || name == "keep-alive" || name == "proxy-connection"
}

/// A header's value as text; bytes that are not UTF-8 are replaced.
pub(crate) fn header_text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `X-Forwarded-For` with the client's address appended.
pub(crate) fn forwarded_for(headers: &HeaderMap, source_ip: &str) -> String {
    match headers.get("x-forwarded-for") {
        Some(earlier) => format!("{}, {source_ip}", header_text(earlier)),
        None => source_ip.to_owned(),
    }
}

/// Names in lower case, several values of a name joined by commas. Cookies are in a member of their own.
fn headers(request: &RoutedRequest<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for name in request.headers.keys().filter(|name| !is_hop_by_hop(name) && *name != header::COOKIE) {
        let values: Vec<String> = request.headers.get_all(name).iter().map(header_text).collect();
        headers.insert(name.as_str().to_owned(), values.join(","));
    }
    headers.entry("content-length".into()).or_insert_with(|| request.body.len().to_string());
    headers.entry("x-amzn-trace-id".into()).or_insert_with(|| request.trace_id.to_owned());
    headers.insert("x-forwarded-for".into(), forwarded_for(request.headers, request.source_ip));
    headers.insert("x-forwarded-port".into(), request.port.to_string());
    headers.insert("x-forwarded-proto".into(), "http".into());
    headers
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::COOKIE).iter().map(header_text);
    lines
        .flat_map(|line| line.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// Several values of a name are joined by commas, in order.
fn join_values(pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        match all.get_mut(&name) {
            Some(Value::String(earlier)) => {
                earlier.push(',');
                earlier.push_str(&value);
            }
            _ => {
                all.insert(name, value.into());
            }
        }
    }
    all
}

/// The body as text and whether that is base64, which it is if its type is binary or its bytes are not UTF-8.
fn body_text<'a>(headers: &HeaderMap, body: &'a Bytes) -> (Option<Cow<'a, str>>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let is_binary = headers.get(header::CONTENT_TYPE).is_some_and(|value| is_binary_type(&header_text(value)));
    match std::str::from_utf8(body) {
        Ok(text) if !is_binary => (Some(text.into()), false),
        _ => (Some(STANDARD.encode(body).into()), true),
    }
}

fn is_binary_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_xml_or_json = essence.ends_with("+xml") || essence.ends_with("+json");
    let is_medium = ["image/", "audio/", "video/", "font/"].iter().any(|family| essence.starts_with(family));
    let is_binary_application = [
        "application/octet-stream",
        "application/zip",
        "application/gzip",
        "application/pdf",
        "application/wasm",
        "application/protobuf",
        "application/x-protobuf",
    ]
    .contains(&essence.as_str());
    (is_medium && !is_xml_or_json) || is_binary_application
}
