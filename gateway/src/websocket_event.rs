//! The events of a WebSocket API: CONNECT, MESSAGE and DISCONNECT.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::connections::Connection;
use crate::ids;
use crate::multi_value::MultiValues;
use crate::outgoing::Closing;
use crate::site::WebSocketApi;
use crate::timestamps;

/// Absent members are left out. There is never an `httpMethod`: with one, `lambda_http` would take the event for one of
/// a REST API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stage_variables: &'a BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    route_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    event_type: &'static str,
    extended_request_id: &'a str,
    request_time: String,
    message_direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'a str>,
    stage: &'a str,
    connected_at: i64,
    request_time_epoch: i64,
    identity: Identity<'a>,
    request_id: &'a str,
    domain_name: &'a str,
    connection_id: &'a str,
    api_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    source_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

/// What all events of a connection have in common.
pub(crate) struct SocketContext<'a> {
    pub(crate) api: &'a WebSocketApi,
    pub(crate) connection: &'a Connection,
    /// A new id for every event.
    pub(crate) request_id: &'a str,
    pub(crate) now_ms: i64,
}

impl<'a> SocketContext<'a> {
    /// The event for a handshake.
    pub(crate) fn connect(&self, headers: &HeaderMap, query: &str, port: u16) -> Bytes {
        let all = MultiValues::of_headers(headers, &self.connection.source_ip.to_string(), port, self.now_ms);
        let query = MultiValues::of_query(query);
        let mut event = self.event("$connect", "CONNECT");
        event.request_context.identity.user_agent = self.connection.user_agent.as_deref();
        event.headers = Some(all.last().into());
        event.multi_value_headers = Some(json!(all));
        event.query_string_parameters = query.as_ref().map(|query| query.last().into());
        event.multi_value_query_string_parameters = query.map(|query| json!(query));
        to_json(&event)
    }

    /// The event for a client's message.
    pub(crate) fn message(&self, route_key: &str, body: &str) -> Bytes {
        let mut event = self.event(route_key, "MESSAGE");
        event.request_context.message_id = Some(ids::request_id());
        event.body = Some(body);
        to_json(&event)
    }

    /// The event for a connection that has ended.
    pub(crate) fn disconnect(&self, closing: &Closing) -> Bytes {
        let host: &str = &self.connection.host;
        let mut event = self.event("$disconnect", "DISCONNECT");
        event.headers = Some(json!({ "Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": "" }));
        event.multi_value_headers =
            Some(json!({ "Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""] }));
        event.request_context.disconnect_status_code = Some(closing.code);
        event.request_context.disconnect_reason = Some(&closing.reason);
        to_json(&event)
    }

    fn event<'e>(&'e self, route_key: &'e str, event_type: &'static str) -> Event<'e> {
        Event {
            headers: None,
            multi_value_headers: None,
            query_string_parameters: None,
            multi_value_query_string_parameters: None,
            stage_variables: &self.api.stage_variables,
            request_context: RequestContext {
                route_key,
                disconnect_status_code: None,
                message_id: None,
                event_type,
                extended_request_id: self.request_id,
                request_time: timestamps::log_format(self.now_ms),
                message_direction: "IN",
                disconnect_reason: None,
                stage: &self.api.stage,
                connected_at: self.connection.connected_at_ms,
                request_time_epoch: self.now_ms,
                identity: Identity { source_ip: self.connection.source_ip, user_agent: None },
                request_id: self.request_id,
                domain_name: &self.connection.host,
                connection_id: &self.connection.id,
                api_id: &self.api.id,
            },
            body: None,
            is_base64_encoded: false,
        }
    }
}

fn to_json(event: &Event<'_>) -> Bytes {
    serde_json::to_vec(event).expect("an event has string keys and members that always serialise").into()
}
