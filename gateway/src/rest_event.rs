//! The event of a REST API, which is in payload format 1.0.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http_event::{self, header_text};
use crate::multi_value::MultiValues;
use crate::request::without_port;
use crate::template::resolve::ACCOUNT_ID;
use crate::timestamps;

/// A request with the route that it matched: everything that its event is made of. Paths are as they were sent, still
/// percent-encoded.
pub(crate) struct RoutedRequest<'a> {
    pub(crate) method: &'a str,
    /// The whole path, with the stage if the client sent it.
    pub(crate) sent_path: &'a str,
    /// The path below the stage.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    /// The Host header.
    pub(crate) host: &'a str,
    pub(crate) source_ip: &'a str,
    /// The port that the gateway listens on.
    pub(crate) port: u16,
    /// The path of the route, such as `/rooms/{id}`.
    pub(crate) resource: &'a str,
    pub(crate) path_parameters: Vec<(&'a str, String)>,
    pub(crate) api_id: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) stage_variables: &'a BTreeMap<String, String>,
    /// A UUID.
    pub(crate) request_id: &'a str,
    pub(crate) extended_request_id: &'a str,
    pub(crate) now_ms: i64,
}

/// Absent members are null, as on AWS.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    resource: &'a str,
    path: &'a str,
    http_method: &'a str,
    headers: Map<String, Value>,
    multi_value_headers: MultiValues,
    query_string_parameters: Option<Map<String, Value>>,
    multi_value_query_string_parameters: Option<MultiValues>,
    path_parameters: Option<Map<String, Value>>,
    stage_variables: Option<&'a BTreeMap<String, String>>,
    request_context: RequestContext<'a>,
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    /// AWS has an id for each resource; here the path is enough.
    resource_id: &'static str,
    resource_path: &'a str,
    http_method: &'a str,
    extended_request_id: &'a str,
    request_time: String,
    path: &'a str,
    account_id: &'static str,
    protocol: &'static str,
    stage: &'a str,
    domain_prefix: &'a str,
    request_time_epoch: i64,
    request_id: &'a str,
    identity: Identity<'a>,
    domain_name: &'a str,
    api_id: &'a str,
}

/// Everything that identifies a caller with AWS credentials is null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    cognito_identity_pool_id: (),
    account_id: (),
    cognito_identity_id: (),
    caller: (),
    source_ip: &'a str,
    principal_org_id: (),
    access_key: (),
    cognito_authentication_type: (),
    cognito_authentication_provider: (),
    user_arn: (),
    user_agent: Option<String>,
    user: (),
}

/// The event as JSON; `None` if Lambda would not take it because it is too long.
pub(crate) fn rest_event(request: RoutedRequest<'_>) -> Option<Bytes> {
    let mut headers = MultiValues::of_headers(request.headers, request.source_ip, request.port, request.now_ms);
    // Functions take the length from the body.
    headers.0.remove("Content-Length");
    let query = MultiValues::of_query(request.query);
    let parameters = request.path_parameters.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let parameters: Map<_, _> = parameters.collect();
    http_event::to_json(&Event {
        resource: request.resource,
        path: request.path,
        http_method: request.method,
        headers: headers.last(),
        multi_value_headers: headers,
        query_string_parameters: query.as_ref().map(MultiValues::last),
        multi_value_query_string_parameters: query,
        path_parameters: (!parameters.is_empty()).then_some(parameters),
        stage_variables: Some(request.stage_variables).filter(|variables| !variables.is_empty()),
        request_context: RequestContext {
            resource_id: "local0",
            resource_path: request.resource,
            http_method: request.method,
            extended_request_id: request.extended_request_id,
            request_time: timestamps::log_format(request.now_ms),
            path: request.sent_path,
            account_id: ACCOUNT_ID,
            protocol: "HTTP/1.1",
            stage: request.stage,
            domain_prefix: without_port(request.host).split('.').next().unwrap_or_default(),
            request_time_epoch: request.now_ms,
            request_id: request.request_id,
            identity: Identity {
                cognito_identity_pool_id: (),
                account_id: (),
                cognito_identity_id: (),
                caller: (),
                source_ip: request.source_ip,
                principal_org_id: (),
                access_key: (),
                cognito_authentication_type: (),
                cognito_authentication_provider: (),
                user_arn: (),
                user_agent: request.headers.get(header::USER_AGENT).map(header_text),
                user: (),
            },
            domain_name: request.host,
            api_id: request.api_id,
        },
        // Without BinaryMediaTypes, a REST API takes every body for text.
        body: (!request.body.is_empty()).then(|| String::from_utf8_lossy(request.body)),
        is_base64_encoded: false,
    })
}
