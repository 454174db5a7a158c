//! The interface between the gateway and the functions: bytes in, bytes out, the JSON that Lambda would carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// A function that answers events. It is called concurrently, once for every event.
///
/// The gateway turns a panic into a [`FunctionError`], so implementations need not catch it.
#[async_trait::async_trait]
pub trait Function: Send + Sync {
    /// Answers one event. Both are JSON: the event as AWS would send it, the answer as Lambda would return it.
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError>;
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
