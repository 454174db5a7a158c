//! Reads the HTTP API of a gateway or a deployment, for commands.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::client::BoxError;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null if it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with status 200.
    pub(crate) fn found(self) -> Option<Value> {
        (self.status == 200).then_some(self.body)
    }

    /// What it says about its failure.
    pub(crate) fn reason(&self) -> String {
        let message = self.body["error"]["message"].as_str().or_else(|| self.body["message"].as_str());
        format!("the answer is {} ({})", self.status, message.unwrap_or("without a message"))
    }
}

/// Reads a path at a URL, which is of `http` or `https`.
pub(crate) async fn get(url: &str, path: &str, token: Option<&str>) -> Result<Answer, BoxError> {
    let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = http::Request::get(format!("{}{path}", url.trim_end_matches('/')));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<bytes::Bytes>::new())?;
    let asking = async {
        let answer = client.request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    };
    let asked = tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| format!("{url} does not answer in time"))?;
    asked.map_err(|error| format!("cannot read {url} (is it running?): {}", with_causes(&*error)).into())
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
