//! Reads the HTTP API of a gateway or a deployment, for commands.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use shared::error::with_causes;

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

/// The HTTP API at one URL, which is of `http` or `https`.
pub(crate) struct Api {
    url: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Api {
    pub(crate) fn at(url: &str) -> Result<Self, BoxError> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client })
    }

    /// The answer to a `GET` of this path, with this token if there is one.
    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Result<Answer, BoxError> {
        let Self { url, client } = self;
        let mut request = http::Request::get(format!("{url}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::new())?;
        let asking = async {
            let answer = client.request(request).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
        };
        let asked =
            tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| format!("{url} does not answer in time"))?;
        asked.map_err(|error| format!("cannot read {url} (is it running?): {}", with_causes(&*error)).into())
    }
}
