//! Wraps handlers in this process as [`Function`]s, with the serialisation that is used in production.

use std::any::type_name;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, Error, LambdaEvent, Request, Response, Service, service_fn};
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::clock::Clock;

use crate::functions::{Function, FunctionError};

/// The longest that an HTTP API waits, so no HTTP handler has a later deadline.
const HTTP_DEADLINE: Duration = Duration::from_secs(30);

/// Wraps a handler of HTTP requests, which is called through `lambda_http` as `lambda_http::run` would call it.
///
/// A handler that needs state captures a clone:
/// `http_function(move |request| { let app = app.clone(); async move { … } })`.
pub fn http_function<H, F>(handler: H) -> Arc<dyn Function>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Error>> + Send + 'static,
{
    Arc::new(HttpFunction(Arc::new(handler)))
}

/// Wraps a handler of typed events: `E` is deserialised from the event, `R` serialised as the answer.
pub fn event_function<E, R, H, F>(handler: H) -> Arc<dyn Function>
where
    E: DeserializeOwned + Send + Sync + 'static,
    R: Serialize + Send + Sync + 'static,
    H: Fn(E) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, Error>> + Send + 'static,
{
    Arc::new(EventFunction { handler, shape: PhantomData::<fn(E) -> R> })
}

struct HttpFunction<H>(Arc<H>);

#[async_trait::async_trait]
impl<H, F> Function for HttpFunction<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Error>> + Send + 'static,
{
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let request: LambdaRequest = serde_json::from_slice(&event).map_err(unreadable)?;
        let handler = Arc::clone(&self.0);
        let mut adapter = Adapter::from(service_fn(move |request: Request| handler(request)));
        let answer = adapter.call(LambdaEvent::new(request, context(HTTP_DEADLINE))).await.map_err(failed)?;
        to_json(&answer)
    }
}

struct EventFunction<H, E, R> {
    handler: H,
    shape: PhantomData<fn(E) -> R>,
}

#[async_trait::async_trait]
impl<E, R, H, F> Function for EventFunction<H, E, R>
where
    E: DeserializeOwned + Send + Sync + 'static,
    R: Serialize + Send + Sync + 'static,
    H: Fn(E) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, Error>> + Send + 'static,
{
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let event: E = serde_json::from_slice(&event).map_err(unreadable)?;
        let answer = (self.handler)(event).await.map_err(failed)?;
        to_json(&answer)
    }
}

/// The deadline is on the machine's clock, as on Lambda, even if the gateway's clock is another one.
fn context(remaining: Duration) -> Context {
    let deadline_ms =
        Clock::system().now_ms().unsigned_abs() + u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX / 2);
    let mut context = Context::default();
    context.request_id = uuid::Uuid::new_v4().to_string();
    context.deadline = deadline_ms;
    context
}

fn to_json(answer: &impl Serialize) -> Result<Bytes, FunctionError> {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|error| FunctionError {
        error_type: type_name::<serde_json::Error>().into(),
        message: format!("cannot serialise the answer: {error}"),
    })
}

fn unreadable(error: serde_json::Error) -> FunctionError {
    FunctionError {
        error_type: type_name::<serde_json::Error>().into(),
        message: format!("cannot deserialise the event: {error}"),
    }
}

fn failed(error: Error) -> FunctionError {
    let Diagnostic { error_type, error_message } = Diagnostic::from(error);
    FunctionError { error_type, message: error_message }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn an_event_function_reads_and_writes_json() {
        let doubled = event_function(|number: i64| async move { Ok(json!({ "doubled": number * 2 })) });
        let answer = doubled.invoke(Bytes::from_static(b"21")).await.unwrap();
        assert_eq!(answer, r#"{"doubled":42}"#);
    }

    #[tokio::test]
    async fn an_event_of_another_type_is_an_error_of_the_function() {
        let function = event_function(|_: i64| async { Ok(Value::Null) });
        let error = function.invoke(Bytes::from_static(b"\"text\"")).await.unwrap_err();
        assert!(error.message.contains("invalid type"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_handler_keeps_its_message() {
        let function = event_function(|_: Value| async { Err::<Value, Error>("the store is down".into()) });
        let error = function.invoke(Bytes::from_static(b"{}")).await.unwrap_err();
        assert_eq!(error.message, "the store is down");
    }
}
