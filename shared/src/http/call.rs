//! One HTTP call as a function reads it: route, caller, then query and body. A function asks for them in this order,
//! which determines the error that a call gets if several apply.

use std::borrow::Cow;

use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::Caller;
use crate::error::Error;
use crate::http::fields::{self, Fields};
use crate::http::json;
use crate::http::reply::{self, Reply};
use crate::ids::{ChatId, DeadLetterId, NotificationId, SendId, SubscriptionId};
use crate::telemetry::invocation::{self, Fact, Origin, note, note_error};
use crate::telemetry::trace::TraceParent;

/// The most bytes of a request body.
pub const MAX_BODY_BYTES: usize = 256 * 1_024;
/// The methods that a log may name; a client may make up others.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A path of the API and its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The path as in the template: `/api/notifications/{id}`.
    pub path: &'static str,
    /// The methods, in upper case.
    pub methods: &'static [&'static str],
}

/// One call.
#[derive(Debug)]
pub struct Call {
    function: &'static str,
    request: Request,
    request_id: String,
    path: String,
}

impl Call {
    /// A call of this function from API Gateway's event. A request of any other source has no path, and so no route.
    pub fn new(function: &'static str, request: Request) -> Self {
        let (request_id, route_key) = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => {
                (context.request_id.clone().unwrap_or_default(), context.route_key.clone().unwrap_or_default())
            }
            Some(RequestContext::ApiGatewayV1(context)) => {
                (context.request_id.clone().unwrap_or_default(), context.resource_path.clone().unwrap_or_default())
            }
            _ => (String::new(), String::new()),
        };
        let path = match route_key.as_str() {
            // A function URL has no routes.
            "$default" => request.uri().path().to_owned(),
            // "ANY /api/notifications/{id}": the path follows the method.
            key => key.split_once(' ').map(|(_, path)| path).unwrap_or(key).to_owned(),
        };
        Self { function, request, request_id, path }
    }

    /// API Gateway's id of this call, for the response and the log. Empty if there is none.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// When Lambda ends this call, in milliseconds since 1970, if that is known.
    pub fn deadline_ms(&self) -> Option<i64> {
        let deadline = self.request.lambda_context_ref()?.deadline;
        i64::try_from(deadline).ok()
    }

    /// Acts, and makes the response as Lambda returns it. A 5xx is counted in the metrics, even if the record is
    /// unavailable.
    pub async fn answer(&self, app: &App, act: impl Future<Output = Result<Reply, Error>>) -> Response<Body> {
        self.respond(self.run(Some(app), act, Reply::status).await)
    }

    /// The same for functions that count nothing.
    pub async fn answer_uncounted(&self, act: impl Future<Output = Result<Reply, Error>>) -> Response<Body> {
        self.respond(self.run(None, act, Reply::status).await)
    }

    /// The same for functions that make the response of a success, a 200, themselves. For the log, the call ends with this.
    pub async fn perform<T>(&self, app: &App, act: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.run(Some(app), act, |_| 200).await
    }

    /// Performs the invocation. `status` is that of a success.
    async fn run<T>(
        &self,
        app: Option<&App>,
        act: impl Future<Output = Result<T, Error>>,
        status: fn(&T) -> u16,
    ) -> Result<T, Error> {
        let status = |result: &Result<T, Error>| match result {
            Ok(done) => status(done),
            Err(error) => reply::status(error),
        };
        let acting = async {
            let result = act.await;
            if let Err(error) = &result {
                note_error(error);
            }
            let is_server_error = status(&result) >= 500;
            if let Some(app) = app.filter(|_| is_server_error) {
                app.report_error().await;
            }
            result
        };
        let method = METHODS.into_iter().find(|method| *method == self.request.method().as_str());
        let request_id = Some(self.request_id.as_str()).filter(|id| !id.is_empty());
        let trace = self.header("traceparent").and_then(|header| TraceParent::parse(&header));
        let origin = Origin { function: self.function, is_call: true, method, request_id, trace };
        invocation::run(origin, acting, |result| Some(status(result))).await
    }

    /// The response as Lambda returns it.
    pub fn respond(&self, result: Result<Reply, Error>) -> Response<Body> {
        let mut response = reply::respond(result, &self.request_id);
        // Only who came by TLS is told to keep to it.
        if self.header("x-forwarded-proto").is_some_and(|protocol| protocol == "https") {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }

    /// The path and method, if they are among `routes`; otherwise 404, or 405 with the methods of the path.
    pub fn route(&self, routes: &[Route]) -> Result<(&'static str, &'static str), Error> {
        let route = routes.iter().find(|route| route.path == self.path).ok_or(Error::NotFound)?;
        note(Fact::Route(route.path));
        let method = route.methods.iter().find(|method| **method == self.request.method().as_str());
        method.map(|method| (route.path, *method)).ok_or(Error::MethodNotAllowed(route.methods))
    }

    /// The caller; 401 without a valid token.
    pub async fn caller(&self, app: &App) -> Result<Caller, Error> {
        let tokens = app.tokens.as_ref().ok_or(Error::Internal)?;
        let caller = tokens.verify(self.header("authorization").as_deref(), &app.clock).await?;
        app.revoked_users.check(&*app.record.revocations, &caller, app.clock.now_ms()).await?;
        Ok(caller)
    }

    /// A header's value. Bytes that are not UTF-8 are replaced, so that the value counts as present and is refused as
    /// invalid.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The members of the body, which is required. A query is refused.
    pub fn body(&self) -> Result<Map<String, Value>, Error> {
        let members = json::object(self.bytes()?).map_err(Error::InvalidJson)?;
        self.query()?.finish()?;
        Ok(members)
    }

    /// The members of the body, which may be missing as a whole. A query is refused.
    pub fn optional_body(&self) -> Result<Fields, Error> {
        self.optional_members().map(Fields::new)
    }

    /// As [`optional_body`](Self::optional_body), for a caller that passes the members on.
    pub fn optional_members(&self) -> Result<Map<String, Value>, Error> {
        if self.raw_body().is_empty() {
            self.query()?.finish()?;
            return Ok(Map::new());
        }
        self.body()
    }

    /// The parameters of the query. A repeated parameter is refused.
    pub fn query(&self) -> Result<Fields, Error> {
        self.parameters(None)
    }

    /// As [`query`](Self::query), but this parameter may be repeated, and is an array of its values.
    pub fn query_with_list(&self, list: &str) -> Result<Fields, Error> {
        self.parameters(Some(list))
    }

    fn parameters(&self, list: Option<&str>) -> Result<Fields, Error> {
        let mut members = Map::new();
        let parameters = self.request.query_string_parameters_ref();
        for (name, value) in parameters.into_iter().flat_map(|parameters| parameters.iter()) {
            let value = Value::String(value.to_owned());
            if list == Some(name) {
                let values = members.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(values) = values {
                    values.push(value);
                }
            } else if members.insert(name.to_owned(), value).is_some() {
                return Err(Error::field(fields::printable(name), "must appear only once"));
            }
        }
        Ok(Fields::new(members))
    }

    /// The notification id in the path; 404 if it is malformed.
    pub fn notification_id(&self) -> Result<NotificationId, Error> {
        let id = self.parameter("id").and_then(NotificationId::parse).ok_or(Error::NotFound)?;
        note(Fact::Notification(id));
        Ok(id)
    }

    /// The send id in the path; 404 if it is malformed.
    pub fn send_id(&self) -> Result<SendId, Error> {
        let id = self.parameter("sendId").and_then(SendId::parse).ok_or(Error::NotFound)?;
        note(Fact::Send(id));
        Ok(id)
    }

    /// The dead letter id in the path; 404 if it is malformed.
    pub fn dead_letter_id(&self) -> Result<DeadLetterId, Error> {
        self.parameter("id").and_then(DeadLetterId::parse).ok_or(Error::NotFound)
    }

    /// The chat id in the path; 404 if it is malformed.
    pub fn chat_id(&self) -> Result<ChatId, Error> {
        let id = self.parameter("id").and_then(ChatId::parse).ok_or(Error::NotFound)?;
        note(Fact::Chat(id));
        Ok(id)
    }

    /// The subscription id in the path; 404 if it is malformed.
    pub fn subscription_id(&self) -> Result<SubscriptionId, Error> {
        self.parameter("id").and_then(SubscriptionId::parse).ok_or(Error::NotFound)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.request.path_parameters_ref()?.first(name)
    }

    fn raw_body(&self) -> &[u8] {
        match self.request.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    fn bytes(&self) -> Result<&[u8], Error> {
        let bytes = self.raw_body();
        if !bytes.is_empty() {
            let plain = self.request.headers().get("content-encoding").is_none_or(|encoding| encoding == "identity");
            if !plain || !self.header("content-type").is_some_and(|content_type| is_json(&content_type)) {
                return Err(Error::UnsupportedMediaType);
            }
        }
        if bytes.len() > MAX_BODY_BYTES {
            return Err(Error::PayloadTooLarge("the body must be at most 256 KB"));
        }
        Ok(bytes)
    }
}

/// Whether it is `application/json`, and in UTF-8 if it names a charset.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    json && parts.filter(|parameter| !parameter.is_empty()).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; v=2",
            "application/json;",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "",
            "multipart/form-data",
            "application/jsonx",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
