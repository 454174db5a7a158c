//! The seam between the gateway and what it calls: bytes in, bytes out, the JSON that Lambda would carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// What answers an event. Called concurrently, as many times at once as there are events.
///
/// The gateway turns a panic into a [`FunctionError`], so implementations need not.
#[async_trait::async_trait]
pub trait Function: Send + Sync {
    /// Answers one event: the JSON text that AWS would send, answered by the JSON text that Lambda would give back.
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError>;
}

/// What Lambda reports when a function did not answer: it returned an error, panicked, or ran out of time.
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

/// The functions of a template by name: `FunctionName` where the template gives one, else the logical id.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Arc<dyn Function>>);

impl Functions {
    /// Puts a function under its name; a second one of the same name replaces the first.
    pub fn insert(&mut self, name: impl Into<String>, function: Arc<dyn Function>) {
        self.0.insert(name.into(), function);
    }

    /// The function of that name.
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
