//! Functions behind the HTTP APIs, invoked without a gateway. What they answer must be as described.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use lambda_http::{Body, Request};
use serde_json::Value;
use shared::app::App;
use url::form_urlencoded;

use crate::api::Exchange;
use crate::app::{HttpAnswer, request};

/// Invokes a function with an event of API Gateway. Panics unless event and answer are as described.
pub async fn invoke<'a, F>(app: &'a App, handle: impl FnOnce(&'a App, Request) -> F, event: Value) -> HttpAnswer
where
    F: Future<Output = HttpAnswer>,
{
    let answer = handle(app, request(event.clone())).await;
    let text = match answer.body() {
        Body::Text(text) => text.as_str(),
        _ => "",
    };
    check(&event, answer.status().as_u16(), answer.headers(), text);
    answer
}

/// Panics unless an event and its answer are as described. The body of an event stream does not matter.
pub fn check(event: &Value, status: u16, headers: &HeaderMap, answer: &str) {
    let context = &event["requestContext"];
    let (method, path, query) = match context["http"]["method"].as_str() {
        Some(method) => (method, path(event), event["rawQueryString"].as_str().unwrap_or_default().to_owned()),
        // The REST API of event streams.
        None => (text(&context["httpMethod"]), text(&context["resourcePath"]).to_owned(), query(event)),
    };
    let body = text(&event["body"]);
    let body = if event["isBase64Encoded"] == true { STANDARD.decode(body).unwrap() } else { body.into() };
    Exchange { method, path: &path, query: &query, body: &body, status, headers, answer }.check();
}

/// The path of an event of the HTTP API. The routes of handlers are those in the context, which tests may change alone.
fn path(event: &Value) -> String {
    match text(&event["requestContext"]["routeKey"]).split_once(' ') {
        Some((_, template)) => {
            let parameters = event["pathParameters"].as_object().into_iter().flatten();
            parameters
                .fold(template.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), text(value)))
        }
        None => text(&event["rawPath"]).to_owned(),
    }
}

/// The query of an event of the REST API, encoded again.
fn query(event: &Value) -> String {
    let parameters = event["multiValueQueryStringParameters"].as_object().into_iter().flatten();
    let values = parameters.flat_map(|(name, values)| {
        values.as_array().into_iter().flatten().map(move |value| (name.as_str(), text(value)))
    });
    form_urlencoded::Serializer::new(String::new()).extend_pairs(values).finish()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
