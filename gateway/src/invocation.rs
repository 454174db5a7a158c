//! One invocation of a function, with what Lambda adds to it: size limits, the function's timeout, panics as errors.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};

use crate::functions::{Chunks, Function, FunctionError, StreamedAnswer};

/// The largest event, and the largest answer, of a synchronous invocation.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// The largest body of an answer that is streamed.
const MAX_STREAM_BYTES: usize = 200 * 1024 * 1024;

/// A function to invoke, with its name and timeout. Clones share the function.
#[derive(Clone)]
pub(crate) struct Target {
    name: Arc<str>,
    function: Arc<dyn Function>,
    timeout: Duration,
}

impl Target {
    pub(crate) fn new(name: &str, function: Arc<dyn Function>, timeout: Duration) -> Self {
        Self { name: name.into(), function, timeout }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Calls the function and returns its output. Logs a failure, so callers need not.
    ///
    /// Dropping the future cancels the call. A client that leaves must not do that, so spawn it.
    pub(crate) async fn call(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let output = self.output(event).await;
        if let Err(error) = &output {
            tracing::error!(function = %self.name, "function {} failed: {error}", self.name);
        }
        output
    }

    /// Calls the function and passes its streamed answer to `relay`, which ends with the invocation. Logs a failure.
    ///
    /// If the function fails before its stream begins, `relay` is dropped without being called; if it times out while
    /// it streams, the future of `relay` is. Dropping the future cancels the invocation.
    pub(crate) async fn stream<F>(&self, event: Bytes, relay: impl FnOnce(StreamedAnswer) -> F)
    where
        F: Future<Output = Result<(), FunctionError>>,
    {
        let invocation = async {
            let answer = caught(self.function.invoke_streaming(within_limit(event)?, self.timeout)).await?;
            relay(answer.map(guarded)).await
        };
        if let Err(error) = self.in_time(invocation).await {
            tracing::error!(function = %self.name, "function {} failed: {error}", self.name);
        }
    }

    async fn output(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let output = self.in_time(caught(self.function.invoke(within_limit(event)?))).await?;
        if output.len() > MAX_PAYLOAD_BYTES { Err(too_large("answer", output.len())) } else { Ok(output) }
    }

    /// The outcome of an invocation, which ends at the function's timeout.
    async fn in_time<T>(&self, invocation: impl Future<Output = Result<T, FunctionError>>) -> Result<T, FunctionError> {
        if self.function.ends_at_timeout() {
            return invocation.await;
        }
        tokio::time::timeout(self.timeout, invocation).await.unwrap_or_else(|_| {
            Err(FunctionError {
                error_type: "Sandbox.Timedout".into(),
                message: format!("Task timed out after {:.2} seconds", self.timeout.as_secs_f64()),
            })
        })
    }
}

/// A streamed answer where none can be passed on: whole, as behind a route of AWS that does not stream. Reads little more than an
/// answer may have, since Lambda refuses what is longer, and the stream may be endless.
pub(crate) async fn gathered(mut chunks: Chunks) -> Result<Bytes, FunctionError> {
    let mut all = BytesMut::new();
    while all.len() <= MAX_PAYLOAD_BYTES
        && let Some(chunk) = chunks.next().await
    {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.freeze())
}

fn within_limit(event: Bytes) -> Result<Bytes, FunctionError> {
    if event.len() > MAX_PAYLOAD_BYTES { Err(too_large("event", event.len())) } else { Ok(event) }
}

/// A panic as an error of the function.
async fn caught<T>(call: impl Future<Output = Result<T, FunctionError>>) -> Result<T, FunctionError> {
    // Safe to assert: this call's future is dropped after a panic, and a handler guards its own shared state.
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

/// The chunks until a panic, which becomes an error of the function, or until they are too long together.
fn guarded(chunks: Chunks) -> Chunks {
    // Safe to assert, as for a call: nothing polls the stream after a panic.
    let chunks: BoxStream<'static, _> = AssertUnwindSafe(chunks).catch_unwind().boxed();
    let mut length_bytes = 0;
    let guarded = chunks.map(move |chunk| {
        let chunk = chunk.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
        length_bytes += chunk.len();
        if length_bytes > MAX_STREAM_BYTES {
            return Err(FunctionError {
                error_type: "Function.ResponseSizeTooLarge".into(),
                message: format!("the stream must be at most {MAX_STREAM_BYTES} bytes"),
            });
        }
        Ok(chunk)
    });
    guarded.boxed()
}

fn too_large(what: &str, length_bytes: usize) -> FunctionError {
    FunctionError {
        error_type: "Function.PayloadTooLarge".into(),
        message: format!("the {what} must be at most {MAX_PAYLOAD_BYTES} bytes, got {length_bytes}"),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> FunctionError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    FunctionError {
        error_type: "Runtime.Panic".into(),
        message: format!("Lambda panicked: {}", text.unwrap_or("no message")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::in_process::{event_function, streaming_function};

    fn target(function: Arc<dyn Function>) -> Target {
        Target::new("Test", function, Duration::from_millis(20))
    }

    #[tokio::test]
    async fn a_function_is_cancelled_at_its_own_timeout() {
        let never = event_function(|(): ()| std::future::pending::<Result<(), lambda_http::Error>>());
        let error = target(never).call(Bytes::from_static(b"null")).await.unwrap_err();
        assert_eq!(error.to_string(), "Sandbox.Timedout: Task timed out after 0.02 seconds");
    }

    #[tokio::test]
    async fn a_panic_keeps_its_message() {
        let panics = event_function(|number: i64| async move {
            assert!(number > 7, "{number} is too small");
            Ok(())
        });
        let error = target(panics).call(Bytes::from_static(b"7")).await.unwrap_err();
        assert_eq!(error.to_string(), "Runtime.Panic: Lambda panicked: 7 is too small");
    }

    #[tokio::test]
    async fn an_answer_over_6_mb_is_an_error_of_the_function() {
        let repeats = event_function(|length: usize| async move { Ok("x".repeat(length)) });
        let longest = MAX_PAYLOAD_BYTES - 2;
        let repeats = Target::new("Test", repeats, Duration::from_secs(20));
        assert!(repeats.call(longest.to_string().into()).await.is_ok());
        let error = repeats.call((longest + 1).to_string().into()).await.unwrap_err();
        assert_eq!(error.error_type, "Function.PayloadTooLarge");
    }

    #[tokio::test]
    async fn a_panic_while_streaming_is_an_error_of_the_function() {
        let panics = stream::poll_fn(|_| panic!("on purpose")).boxed();
        let error = guarded(panics).next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "Runtime.Panic: Lambda panicked: on purpose");
    }

    #[tokio::test]
    async fn a_stream_over_200_mb_is_an_error_of_the_function() {
        let part = Bytes::from(vec![b'x'; 1024 * 1024]);
        let chunks = guarded(stream::repeat_with(move || Ok(part.clone())).boxed());
        let outcomes: Vec<bool> = chunks.take(201).map(|chunk| chunk.is_ok()).collect().await;
        assert_eq!(outcomes.iter().filter(|is_ok| **is_ok).count(), 200);
        assert!(!outcomes[200]);
    }

    #[tokio::test]
    async fn a_stream_ends_at_the_timeout_of_its_function() {
        let streams = streaming_function(|_: lambda_http::Request| async {
            let never = stream::pending::<Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>();
            Ok(lambda_http::Response::new(http_body_util::StreamBody::new(never)))
        });
        let event = br#"{"path":"/","httpMethod":"GET","requestContext":{"httpMethod":"GET"}}"#;
        let mut has_begun = false;
        let relay = |answer: StreamedAnswer| {
            has_begun = true;
            async move {
                drop(answer.into_body().next().await);
                Ok(())
            }
        };
        target(streams).stream(Bytes::from_static(event), relay).await;
        assert!(has_begun);
    }
}
