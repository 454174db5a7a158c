//! How this process calls APIs of AWS: its credentials, and its HTTP client, which keeps connections and uses TLS where the URL
//! says so.

use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// A client for bodies that are held in memory.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A new client. Reads the system's certificates, which takes longer than the rest of a cold start. The error is why there is
/// none, for the log.
pub(crate) fn client() -> Result<HttpClient, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("the certificate authorities cannot be read: {error}"))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

/// Credentials as the configuration has them: their id, their key, and the token of a role.
pub(crate) fn credentials((id, key, session): &(String, Secret, Option<Secret>)) -> Credentials {
    let session = session.as_ref().map(|session| session.reveal().to_owned());
    Credentials::new(id, key.reveal(), session, None, "environment")
}
