//! The interface between the gateway and the functions: bytes in, bytes out, the JSON that Lambda would carry; or, for a
//! function that streams, an HTTP response whose body arrives in parts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

/// Lambda's default for a body whose type the function does not name.
pub(crate) const DEFAULT_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A function that answers events. It is called concurrently, once for every event.
///
/// The gateway turns a panic into a [`FunctionError`], so implementations need not catch it.
#[async_trait::async_trait]
pub trait Function: Send + Sync {
    /// Answers one event. Both are JSON: the event as AWS would send it, the answer as Lambda would return it.
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError>;

    /// Answers one event with a stream, like Lambda's `InvokeWithResponseStream`, which the routes of a REST API use.
    /// The invocation, stream included, ends after `timeout`, so that is the deadline that the function sees.
    ///
    /// Dropping the future or the stream cancels the invocation. A function that does not stream keeps the default:
    /// the client gets the JSON of [`invoke`](Self::invoke) itself, as from a function URL, status code and all.
    async fn invoke_streaming(&self, event: Bytes, timeout: Duration) -> Result<StreamedAnswer, FunctionError> {
        // `invoke` has deadlines of its own.
        let _ = timeout;
        Ok(unstreamed(self.invoke(event).await?))
    }

    /// Whether it ends its invocations at the timeout of the template itself. Otherwise the gateway does, and counts what
    /// comes before the function gets its event.
    fn ends_at_timeout(&self) -> bool {
        false
    }
}

/// The head of a streamed answer, and its body.
pub type StreamedAnswer = Response<Chunks>;

/// Parts of a body, of any length, in the order in which they are sent. Nothing follows an error.
pub type Chunks = BoxStream<'static, Result<Bytes, FunctionError>>;

/// The answer of a function that does not stream: its output is the body.
pub(crate) fn unstreamed(output: Bytes) -> StreamedAnswer {
    let mut answer = Response::new(stream::iter([Ok(output)]).boxed());
    answer.headers_mut().insert(CONTENT_TYPE, DEFAULT_CONTENT_TYPE);
    answer
}

/// What Lambda reports when a function returned an error, panicked or timed out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{error_type}: {message}")]
pub struct FunctionError {
    /// The kind of error, `errorType` in Lambda's JSON.
    #[serde(rename = "errorType")]
    pub error_type: String,
    /// What went wrong, `errorMessage` in Lambda's JSON.
    #[serde(rename = "errorMessage")]
    pub message: String,
}

/// The functions of a template by name: `FunctionName` if the template has one, else the logical id.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Arc<dyn Function>>);

impl Functions {
    /// Adds a function under a name, replacing any earlier one with that name.
    pub fn insert(&mut self, name: impl Into<String>, function: Arc<dyn Function>) {
        self.0.insert(name.into(), function);
    }

    /// The function with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Function>> {
        self.0.get(name)
    }

    /// All names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}
