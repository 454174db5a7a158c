//! One invocation of a function, with what Lambda adds to it: size limits, the function's timeout, panics as errors.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::functions::{Function, FunctionError};

/// The largest event, and the largest answer, of a synchronous invocation.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

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

    async fn output(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        if event.len() > MAX_PAYLOAD_BYTES {
            return Err(too_large("event", event.len()));
        }
        // Safe to assert: this call's future is dropped after a panic, and a handler guards its own shared state.
        let call = AssertUnwindSafe(self.function.invoke(event)).catch_unwind();
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(Ok(output))) if output.len() > MAX_PAYLOAD_BYTES => Err(too_large("answer", output.len())),
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(panicked(panic.as_ref())),
            Err(_) => Err(FunctionError {
                error_type: "Sandbox.Timedout".into(),
                message: format!("Task timed out after {:.2} seconds", self.timeout.as_secs_f64()),
            }),
        }
    }
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
    use super::*;
    use crate::in_process::event_function;

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
}
