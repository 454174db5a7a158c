//! Wraps handlers in this process as [`Function`]s, with the serialisation that is used in production.

use std::any::type_name;
use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::header::CONTENT_TYPE;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, Error, LambdaEvent, Request, Response, Service, StreamAdapter, service_fn};
use lambda_runtime::{Diagnostic, StreamResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::clock::Clock;

use crate::functions::{Chunks, DEFAULT_CONTENT_TYPE, Function, FunctionError, StreamedAnswer};
use crate::ids;
use crate::invocation::gathered;
use crate::prelude;

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

/// Wraps a handler of HTTP requests that streams its responses, which is called through `lambda_http` as
/// `lambda_http::run_with_streaming_response` would call it.
///
/// The body is polled only while the client has room for more. Behind a route that does not stream, the client gets
/// the whole stream at its end, the prelude included, as on AWS.
pub fn streaming_function<H, F, B>(handler: H) -> Arc<dyn Function>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error> + Debug + Send,
{
    Arc::new(StreamingFunction(Arc::new(handler)))
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

struct StreamingFunction<H>(Arc<H>);

impl<H, F, B> StreamingFunction<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error> + Debug + Send,
{
    /// What the function sends to Lambda.
    async fn stream(&self, event: Bytes, timeout: Duration) -> Result<Chunks, FunctionError> {
        let request: LambdaRequest = serde_json::from_slice(&event).map_err(unreadable)?;
        let handler = Arc::clone(&self.0);
        // Boxed, because the adapter needs a body that can be moved while it is polled.
        let handler = service_fn(move |request: Request| {
            let response = handler(request);
            async move { response.await.map(|response| response.map(Box::pin)) }
        });
        let call = StreamAdapter::from(handler).call(LambdaEvent::new(request, context(timeout)));
        let StreamResponse { mut metadata_prelude, stream } = call.await.map_err(failed)?;
        // `lambda_runtime` adds it when it sends the response.
        metadata_prelude.headers.entry(CONTENT_TYPE).or_insert(DEFAULT_CONTENT_TYPE);
        let body = stream.map_err(|error| failed(error.into()));
        Ok(prelude::write(to_json(&metadata_prelude)?, body))
    }
}

#[async_trait::async_trait]
impl<H, F, B> Function for StreamingFunction<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error> + Debug + Send,
{
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        gathered(self.stream(event, HTTP_DEADLINE).await?).await
    }

    async fn invoke_streaming(&self, event: Bytes, timeout: Duration) -> Result<StreamedAnswer, FunctionError> {
        prelude::read(self.stream(event, timeout).await?).await
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
    context.request_id = ids::request_uuid();
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
    use futures_util::{StreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use lambda_http::RequestExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::invocation::MAX_PAYLOAD_BYTES;

    /// What a REST API would send for `GET /events`.
    const GET: Bytes = Bytes::from_static(
        br#"{"path":"/events","httpMethod":"GET","headers":{},"requestContext":{"httpMethod":"GET","stage":"prod"}}"#,
    );

    /// A function that streams one part, and then fails if it is told to.
    fn streams(fails: bool) -> Arc<dyn Function> {
        streaming_function(move |request: Request| async move {
            let part = format!("{} {}", request.method(), request.raw_http_path());
            let end = fails.then(|| Err(Error::from("the store is down")));
            let parts = stream::iter([Ok(Frame::data(Bytes::from(part)))].into_iter().chain(end));
            Ok(Response::builder().status(201).header("x-a", "1").header("x-a", "2").body(StreamBody::new(parts))?)
        })
    }

    #[tokio::test]
    async fn a_streaming_function_returns_its_head_before_its_parts() {
        let mut answer = streams(false).invoke_streaming(GET, Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), "GET /events");
        assert!(answer.body_mut().next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_fails_keeps_its_parts_and_its_message() {
        let mut answer = streams(true).invoke_streaming(GET, Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), "GET /events");
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap_err().message, "the store is down");
    }

    #[tokio::test]
    async fn the_deadline_of_a_streaming_function_is_its_timeout() {
        let function = streaming_function(|request: Request| async move {
            let deadline_ms = request.lambda_context().deadline;
            let remaining_ms = deadline_ms.saturating_sub(Clock::system().now_ms().unsigned_abs());
            Ok(Response::new(http_body_util::Full::new(Bytes::from(remaining_ms.to_string()))))
        });
        let mut answer = function.invoke_streaming(GET, Duration::from_secs(900)).await.unwrap();
        let remaining_ms = answer.body_mut().next().await.unwrap().unwrap();
        let remaining_ms: u64 = std::str::from_utf8(&remaining_ms).unwrap().parse().unwrap();
        assert!((880_000..=900_000).contains(&remaining_ms), "{remaining_ms}");
    }

    #[tokio::test]
    async fn a_streaming_function_that_is_called_without_streaming_returns_all_that_it_wrote() {
        let output = streams(false).invoke(GET).await.unwrap();
        let expected = b"{\"statusCode\":201,\"headers\":{\"x-a\":[\"1\",\"2\"],\"content-type\":\"application/octet-stream\"},\"cookies\":[]}\0\0\0\0\0\0\0\0GET /events";
        assert_eq!(output, &expected[..]);
    }

    #[tokio::test]
    async fn a_stream_without_an_end_is_read_until_it_is_too_long() {
        let endless = streaming_function(|_: Request| async {
            let part = Bytes::from(vec![b'x'; 1024 * 1024]);
            let parts = stream::repeat_with(move || Ok::<_, Error>(Frame::data(part.clone())));
            Ok(Response::new(StreamBody::new(parts)))
        });
        assert!(endless.invoke(GET).await.unwrap().len() > MAX_PAYLOAD_BYTES);
    }

    #[tokio::test]
    async fn the_stream_of_a_function_that_does_not_stream_is_its_answer() {
        let answers = event_function(|_: Value| async { Ok(json!({ "statusCode": 404 })) });
        let mut answer = answers.invoke_streaming(GET, Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), r#"{"statusCode":404}"#);
    }

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
