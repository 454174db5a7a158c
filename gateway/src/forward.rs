//! Functions in other processes, behind the same trait as those in this one: `cargo lambda watch`, or anything else
//! that serves Lambda's Invoke API. Timeouts are left to `invocation.rs`, as for all functions.
//!
//! `cargo lambda watch` differs from Lambda, and this module hides it: it reports a failed function as a 500 without
//! `X-Amz-Function-Error`, and a missing one as a 404 with its own body. It also sets every deadline to 1970, which
//! cannot be fixed here. A call waits while the function compiles and its timeout runs meanwhile, as for any slow
//! start, so build first (`make watch` does).
//!
//! It buffers what it serves by `InvokeWithResponseStream`, but passes on the stream of a function that is invoked in the
//! ordinary way, as the HTTP response that the function describes in its prelude. To that it adds
//! `Access-Control-Allow-Credentials` and `Vary`.

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::functions::{Function, FunctionError, Functions, StreamedAnswer, unstreamed};
use crate::http_event::is_hop_by_hop;
use crate::template::Template;

/// The header that `cargo lambda watch` leaves in the answer of a function that streams, and in no other.
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

/// The base URL of an Invoke API, such as `http://127.0.0.1:9000`. Only plain HTTP is supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaUrl(String);

impl FromStr for LambdaUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base = text.trim_end_matches('/');
        let uri = base.parse::<Uri>().ok();
        let fits = uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty()));
        if fits && !base.contains('?') {
            Ok(Self(base.to_owned()))
        } else {
            Err("must be http:// and a host, without a query".into())
        }
    }
}

impl std::fmt::Display for LambdaUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// All functions of a template, each invoked at this URL by the name of its binary.
pub fn functions(template: &Template, url: &LambdaUrl) -> Functions {
    let mut connector = HttpConnector::new();
    // Events are small and a caller waits for each, so Nagle's algorithm would only add latency.
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let mut functions = Functions::default();
    for function in &template.functions {
        let binary = function.binary.as_ref().unwrap_or(&function.name).clone();
        let forwarded = ForwardedFunction { client: client.clone(), url: url.clone(), binary };
        functions.insert(&function.name, Arc::new(forwarded));
    }
    functions
}

struct ForwardedFunction {
    /// Shared by all functions, so that its connections are reused.
    client: Client<HttpConnector, Full<Bytes>>,
    url: LambdaUrl,
    binary: String,
}

#[async_trait::async_trait]
impl Function for ForwardedFunction {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        self.whole(self.call(event).await?).await
    }

    async fn invoke_streaming(&self, event: Bytes, _timeout: Duration) -> Result<StreamedAnswer, FunctionError> {
        let mut response = self.call(event).await?;
        if response.headers_mut().remove(RESPONSE_MODE).is_none() {
            return Ok(unstreamed(self.whole(response).await?));
        }
        let of_connection: Vec<_> = response.headers().keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
        for name in of_connection {
            response.headers_mut().remove(name);
        }
        let url = self.url.clone();
        Ok(response.map(|body| BodyDataStream::new(body).map_err(move |error| cut_off(&url, &error)).boxed()))
    }
}

impl ForwardedFunction {
    /// Invokes the function. The answer is the function's: its output, or a stream.
    async fn call(&self, event: Bytes) -> Result<Response<Incoming>, FunctionError> {
        let Self { client, url, binary } = self;
        let request = Request::post(format!("{url}/2015-03-31/functions/{binary}/invocations"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(event))
            .map_err(|error| failure("Lambda.Unreachable", format!("{binary:?} cannot be part of a URL: {error}")))?;
        let response = client.request(request).await.map_err(|error| {
            let problem = if error.is_connect() { "cannot connect to" } else { "the call was cut off by" };
            failure("Lambda.Unreachable", format!("{problem} {url}: {}", root_cause(&error)))
        })?;
        let is_output = response.status() == StatusCode::OK && !response.headers().contains_key("x-amz-function-error");
        if is_output || response.headers().contains_key(RESPONSE_MODE) {
            return Ok(response);
        }
        let status = response.status();
        let body = self.whole(response).await?;
        Err(match status {
            StatusCode::NOT_FOUND => {
                failure("ResourceNotFoundException", format!("there is no function {binary} at {url}"))
            }
            status => serde_json::from_slice(&body).unwrap_or_else(|_| {
                failure("Lambda.Unexpected", format!("{url} answered {status}: {}", String::from_utf8_lossy(&body)))
            }),
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, FunctionError> {
        let body = response.into_body().collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| cut_off(&self.url, &error))
    }
}

fn cut_off(url: &LambdaUrl, error: &hyper::Error) -> FunctionError {
    failure("Lambda.Unreachable", format!("the answer from {url} was cut off: {error}"))
}

fn failure(error_type: &str, message: String) -> FunctionError {
    FunctionError { error_type: error_type.into(), message }
}

/// The error of the operating system, below those that libraries wrapped around it.
fn root_cause(error: &dyn Error) -> &dyn Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    const TEMPLATE: &str = "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
                            Metadata: { BuildProperties: { Binary: hello } }\n";

    fn hello(url: &str) -> Arc<dyn Function> {
        let template = Template::parse(TEMPLATE).unwrap();
        Arc::clone(functions(&template, &url.parse().unwrap()).get("Hello").unwrap())
    }

    /// Invokes a function on a server that gives this answer. Also returns the request line that the server received.
    async fn answered(status: &str, body: &str) -> (Result<Bytes, FunctionError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"[7]") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        (hello(&url).invoke(Bytes::from_static(b"[7]")).await, server.await.unwrap())
    }

    #[tokio::test]
    async fn an_event_is_posted_to_the_binary_and_its_answer_is_returned() {
        let (answer, request) = answered("200 OK", r#"{"statusCode":200}"#).await;
        assert_eq!(answer.unwrap(), r#"{"statusCode":200}"#);
        assert_eq!(request, "POST /2015-03-31/functions/hello/invocations HTTP/1.1");
    }

    #[tokio::test]
    async fn the_error_of_a_failed_function_is_kept_in_either_form() {
        let error = r#"{"errorType":"Unhandled","errorMessage":"the store is down"}"#;
        for status in ["500 Internal Server Error", "200 OK\r\nx-amz-function-error: Unhandled"] {
            let (answer, _) = answered(status, error).await;
            assert_eq!(answer.unwrap_err().to_string(), "Unhandled: the store is down");
        }
    }

    #[tokio::test]
    async fn a_missing_function_and_an_unexpected_answer_are_named() {
        let (answer, _) = answered("404 Not Found", r#"{"title":"Missing function","detail":"…"}"#).await;
        let message = answer.unwrap_err().to_string();
        assert!(
            message.starts_with("ResourceNotFoundException: there is no function hello at http://127"),
            "{message}"
        );
        let (answer, _) = answered("502 Bad Gateway", "upstream").await;
        let message = answer.unwrap_err().to_string();
        assert!(message.ends_with("answered 502 Bad Gateway: upstream"), "{message}");
    }

    /// Calls a function on a server that begins its answer with one text, and completes it with another when it is told
    /// to, or when it no longer can be.
    async fn streamed(
        begun: String,
        rest: &'static str,
    ) -> (Result<StreamedAnswer, FunctionError>, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (complete, completed) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"[7]") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(begun.as_bytes()).await.unwrap();
            let _ = completed.await;
            stream.write_all(rest.as_bytes()).await.unwrap();
        });
        let answer = hello(&url).invoke_streaming(Bytes::from_static(b"[7]"), Duration::from_secs(20)).await;
        (answer, complete)
    }

    /// The beginning of a stream.
    fn streams() -> String {
        let head = "transfer-encoding: chunked\r\nset-cookie: a=1\r\nset-cookie: b=2";
        format!("HTTP/1.1 500 Oops\r\n{head}\r\n{RESPONSE_MODE}: streaming\r\n\r\n3\r\none\r\n")
    }

    #[tokio::test]
    async fn a_stream_comes_chunk_by_chunk_with_the_head_of_the_function() {
        let (answer, complete) = streamed(streams(), "3\r\ntwo\r\n0\r\n\r\n").await;
        let mut answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let names: Vec<_> = answer.headers().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["set-cookie", "set-cookie"]);
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), "one");
        complete.send(()).unwrap();
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), "two");
        assert!(answer.body_mut().next().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_an_error() {
        let (answer, complete) = streamed(streams(), "3\r\ntw").await;
        complete.send(()).unwrap();
        let parts: Vec<_> = answer.unwrap().into_body().collect().await;
        assert_eq!(parts[0].as_ref().unwrap(), "one");
        let message = parts.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(message.starts_with("Lambda.Unreachable: the answer from http://127"), "{message}");
    }

    #[tokio::test]
    async fn where_it_may_stream_a_function_can_also_answer_at_once_or_fail() {
        let whole =
            |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (answer, _) = streamed(whole("200 OK", r#"{"statusCode":404}"#), "").await;
        let mut answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), r#"{"statusCode":404}"#);
        let failed = r#"{"errorType":"Unhandled","errorMessage":"the store is down"}"#;
        let (answer, _) = streamed(whole("500 Internal Server Error", failed), "").await;
        assert_eq!(answer.err().unwrap().to_string(), "Unhandled: the store is down");
    }

    #[tokio::test]
    async fn an_unreachable_url_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let message = hello(&url).invoke(Bytes::new()).await.unwrap_err().to_string();
        assert!(message.starts_with(&format!("Lambda.Unreachable: cannot connect to {url}: ")), "{message}");
    }

    #[test]
    fn a_url_that_is_not_plain_http_is_refused() {
        for bad in ["https://127.0.0.1:9000", "127.0.0.1:9000", "http://", "spawn", "", "http://h:1/?x"] {
            assert!(bad.parse::<LambdaUrl>().is_err(), "{bad}");
        }
        assert_eq!("http://127.0.0.1:9000/".parse::<LambdaUrl>().unwrap().to_string(), "http://127.0.0.1:9000");
    }
}
