//! Fetches a document over HTTP within strict bounds. Redirects are not followed: they could lead anywhere.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::error::with_causes;

/// The timeout from the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of a document.
const MAX_BYTES: usize = 64 * 1_024;

/// The document at an `https` or `http` URL. The error is why there is none, for the log.
pub(super) async fn fetch(uri: &Uri) -> Result<Bytes, String> {
    let fetching = async {
        if uri.scheme_str() == Some("https") {
            // The system's authorities, or those in SSL_CERT_FILE.
            let connector = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| format!("the certificate authorities cannot be read: {error}"))?;
            get(connector.https_only().enable_http1().build(), uri).await
        } else {
            get(HttpConnector::new(), uri).await
        }
    };
    tokio::time::timeout(TIMEOUT, fetching).await.unwrap_or_else(|_| Err("no complete answer within 2 s".into()))
}

async fn get<C: Connect + Clone + Send + Sync + 'static>(connector: C, uri: &Uri) -> Result<Bytes, String> {
    // An idle connection would be dead after the sandbox was frozen.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let request = Request::get(uri)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "carillon")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| with_causes(&error))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(format!("the status is {status}"));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| format!("at most 64 KB are read: {error}"))
}
