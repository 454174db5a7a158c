//! The HTTP API: matches a request to its route, invokes the function and turns its output into a response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;

use crate::body::{BodyError, Room};
use crate::function_output;
use crate::http_event::{RoutedRequest, http_event};
use crate::ids;
use crate::invocation::MAX_PAYLOAD_BYTES;
use crate::request::{Client, percent_decode};
use crate::response::{self, GatewayResponse};
use crate::site::{HttpApi, HttpIntegration, Site};

/// Answers a request. Every answer has a request id and, if CORS is configured, the CORS headers.
pub(crate) async fn answer(
    site: &Arc<Site>,
    api: &HttpApi,
    client: &Client<'_>,
    request: Request<Incoming>,
) -> GatewayResponse {
    let request_id = ids::request_id();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = api.cors.as_ref().and_then(|cors| cors.preflight(request.method(), request.headers()));
    let mut response = match preflight {
        Some(preflight) => preflight,
        None => {
            let mut response = route(site, api, client, request, &request_id).await.unwrap_or_else(|refusal| refusal);
            if let Some(cors) = &api.cors {
                cors.apply(origin.as_ref(), response.headers_mut());
            }
            response
        }
    };
    let request_id = HeaderValue::try_from(request_id).expect("a gateway id is base64url");
    response.headers_mut().insert(HeaderName::from_static("apigw-requestid"), request_id);
    response
}

async fn route(
    site: &Arc<Site>,
    api: &HttpApi,
    client: &Client<'_>,
    request: Request<Incoming>,
    request_id: &str,
) -> Result<GatewayResponse, GatewayResponse> {
    let (head, body) = request.into_parts();
    let bad_request = || response::message(StatusCode::BAD_REQUEST, "Bad Request");
    let not_found = || response::message(StatusCode::NOT_FOUND, "Not Found");

    let path = percent_decode(head.uri.path()).filter(|path| path.starts_with('/')).ok_or_else(bad_request)?;
    let path_in_stage = path_in_stage(api, head.uri.path()).ok_or_else(not_found)?;
    let route = api.routes.find(head.method.as_str(), path_in_stage).ok_or_else(not_found)?;
    let refuse = |error: BodyError| {
        let response = error.into_response();
        site.count_refused_body(error, "refused a request");
        response
    };
    // API Gateway reads up to 10 MB, but what is longer than Lambda's limit fits into no event.
    let (body, mut room) = site.bodies.read(body, MAX_PAYLOAD_BYTES).await.map_err(refuse)?;

    let now_ms = site.clock.now_ms();
    let event = http_event(RoutedRequest {
        method: head.method.as_str(),
        path: &path,
        query: head.uri.query().unwrap_or_default(),
        protocol: "HTTP/1.1",
        headers: &head.headers,
        body: &body,
        host: client.host,
        source_ip: &client.source_ip.to_string(),
        port: site.address.port(),
        route_key: route.key,
        path_parameters: route.parameters,
        api_id: &api.id,
        stage: &api.stage,
        stage_variables: &api.stage_variables,
        request_id,
        trace_id: &ids::trace_id(now_ms),
        now_ms,
    });
    let event = event.ok_or_else(|| refuse(BodyError::TooLarge))?;
    if !body.is_empty() {
        drop(body);
        site.bodies.extend(&mut room, event.len()).await.map_err(refuse)?;
    }
    Ok(invoke(site, route.target, event, room).await)
}

/// The path below the stage; `None` if it is not in the stage. The `$default` stage has no segment of its own.
fn path_in_stage<'p>(api: &HttpApi, path: &'p str) -> Option<&'p str> {
    if api.stage == "$default" {
        return Some(path);
    }
    match path.strip_prefix('/')?.strip_prefix(&api.stage)? {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

async fn invoke(site: &Site, integration: &HttpIntegration, event: Bytes, room: Room) -> GatewayResponse {
    let function = integration.function.clone();
    // In a task of its own: the function continues if the client leaves or the timeout passes, as on Lambda.
    let call = site.invocations.spawn(async move {
        let _room = room;
        function.call(event).await
    });
    match tokio::time::timeout(integration.timeout, call).await {
        Ok(Ok(Ok(output))) => function_output::to_response(output),
        Ok(Ok(Err(_))) => response::internal_server_error(),
        // The first case, a cancelled task, occurs only when the process ends.
        Ok(Err(_)) | Err(_) => response::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}
