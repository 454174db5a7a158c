//! The REST API: matches a request to its route, invokes the function and relays what it streams.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::body::{BodyError, Room};
use crate::functions::StreamedAnswer;
use crate::ids;
use crate::invocation::MAX_PAYLOAD_BYTES;
use crate::relay::{self, Cutoff, RelayedBody};
use crate::request::{Client, percent_decode};
use crate::response::{self, Answer, GatewayResponse};
use crate::rest_event::{RoutedRequest, rest_event};
use crate::site::{HttpApi, HttpIntegration, Phase, RestApi, Site};

/// The path below the stage; `None` if the request is not for the REST API.
///
/// Its own paths begin with its stage. Those of its routes that the HTTP API leaves to `$default` are served without it
/// too, as a custom domain could map both APIs: one origin then serves all routes, here as there.
pub(crate) fn path_in_api<'p>(
    api: &RestApi,
    http_api: Option<&HttpApi>,
    method: &Method,
    path: &'p str,
) -> Option<&'p str> {
    let in_stage = path.strip_prefix('/').and_then(|path| path.strip_prefix(api.stage.as_str()));
    match in_stage {
        Some("") => return Some("/"),
        Some(below) if below.starts_with('/') => return Some(below),
        _ => {}
    }
    if api.routes.methods_at(path).is_empty() {
        return None;
    }
    let other = http_api.and_then(|http_api| http_api.routes.find(method.as_str(), path));
    other.is_none_or(|route| route.key == "$default").then_some(path)
}

/// Answers a request for a path below the stage.
pub(crate) async fn answer(
    site: &Arc<Site>,
    api: &RestApi,
    client: &Client<'_>,
    path: &str,
    request: Request<Incoming>,
) -> Answer {
    let ids = Ids { request: ids::request_uuid(), extended: ids::request_id() };
    let mut answer = match route(site, api, client, path, request, &ids).await {
        Ok(streamed) => streamed.map(Either::Right),
        Err(refusal) => refusal.map(Either::Left),
    };
    let Ids { request, extended } = ids;
    put(answer.headers_mut(), "x-amzn-requestid", request);
    put(answer.headers_mut(), "x-amz-apigw-id", extended);
    answer
}

/// The two ids of a request.
struct Ids {
    request: String,
    extended: String,
}

fn put(headers: &mut HeaderMap, name: &'static str, id: String) {
    let id = HeaderValue::try_from(id).expect("a UUID and a gateway id consist of visible characters");
    headers.insert(HeaderName::from_static(name), id);
}

async fn route(
    site: &Arc<Site>,
    api: &RestApi,
    client: &Client<'_>,
    path: &str,
    request: Request<Incoming>,
    ids: &Ids,
) -> Result<Response<RelayedBody>, GatewayResponse> {
    // An answer that the gateway gives itself is an `Err`, a preflight's included.
    let (head, body) = request.into_parts();
    if percent_decode(path).is_none() {
        return Err(response::message(StatusCode::BAD_REQUEST, "Bad Request"));
    }
    let missing =
        || refusal(StatusCode::FORBIDDEN, "Missing Authentication Token", "MissingAuthenticationTokenException");
    if head.method == Method::OPTIONS
        && let Some(cors) = &api.cors
    {
        let methods = api.routes.methods_at(path);
        // A function with a route for OPTIONS itself answers it.
        if !methods.is_empty() && !methods.contains(&Some("OPTIONS")) {
            return Err(cors.options(&methods, &head.headers));
        }
    }
    let route = api.routes.find_encoded(head.method.as_str(), path).ok_or_else(missing)?;
    let refuse = |error: BodyError| {
        let response = error.into_response();
        site.count_refused_body(error, "refused a request");
        response
    };
    let (body, mut room) = site.bodies.read(body, MAX_PAYLOAD_BYTES).await.map_err(refuse)?;
    let event = rest_event(RoutedRequest {
        method: head.method.as_str(),
        sent_path: head.uri.path(),
        path,
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: &body,
        host: client.host,
        source_ip: &client.source_ip.to_string(),
        port: site.address.port(),
        resource: route.path,
        path_parameters: route.parameters,
        api_id: &api.id,
        stage: &api.stage,
        stage_variables: &api.stage_variables,
        request_id: &ids.request,
        extended_request_id: &ids.extended,
        now_ms: site.clock.now_ms(),
    });
    let event = event.ok_or_else(|| refuse(BodyError::TooLarge))?;
    if !body.is_empty() {
        drop(body);
        site.bodies.extend(&mut room, event.len()).await.map_err(refuse)?;
    }
    invoke(site, api, route.target, event, room).await
}

/// Returns when the head of the answer is known. The rest follows from a task of its own, which continues if the client
/// leaves.
async fn invoke(
    site: &Arc<Site>,
    api: &RestApi,
    integration: &HttpIntegration,
    event: Bytes,
    room: Room,
) -> Result<Response<RelayedBody>, GatewayResponse> {
    let cutoff = Cutoff {
        deadline: Instant::now() + integration.timeout,
        idle_timeout: api.idle_timeout,
        cancels: site.cancel_on_disconnect,
    };
    let (answer, answered) = oneshot::channel();
    let (client, body) = relay::body();
    // Dropped with the invocation, which ends with the client if this is there to notice that.
    let watched = cutoff.cancels.then(|| client.clone());
    let begin = move |streamed: StreamedAnswer| {
        drop(room);
        let (head, chunks) = streamed.into_parts();
        // If the client has left, it has left its body too, which `relay` notices.
        let _ = answer.send(head);
        relay::relay(chunks, client, cutoff)
    };
    let (function, serving) = (integration.function.clone(), Arc::clone(site));
    site.invocations.spawn(async move {
        let cancelled = async {
            match watched {
                Some(client) => client.left().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = function.stream(event, begin) => {}
            () = cancelled => {}
            () = serving.reached(Phase::Stopped) => {}
        }
    });
    match timeout_at(cutoff.deadline, answered).await {
        Ok(Ok(head)) => Ok(Response::from_parts(head, body)),
        Ok(Err(_)) if site.is_stopping() => {
            Err(response::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"))
        }
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_GATEWAY, "Internal server error", INTERNAL)),
        Err(_) => Err(refusal(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out", INTERNAL)),
    }
}

const INTERNAL: &str = "InternalServerErrorException";

fn refusal(status: StatusCode, message: &str, error_type: &'static str) -> GatewayResponse {
    let mut response = response::message(status, message);
    let error_type = HeaderValue::from_static(error_type);
    response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), error_type);
    response
}
