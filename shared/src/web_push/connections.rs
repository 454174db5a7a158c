//! HTTP connections to push services. The addresses of a host are checked where they are connected to, because a name may have
//! others each time that it is resolved.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::address::is_public;
use super::endpoint::Reach;

/// How long one of several addresses of a host is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is kept without a request. Push services keep them longer.
const MAX_IDLE: Duration = Duration::from_secs(20);
const MAX_IDLE_MS: u64 = 20_000;
/// The most bytes of the head of an answer; the least that the client allows.
const MAX_HEAD_BYTES: usize = 8 * 1_024;

/// Sends requests, over connections that it keeps.
pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// The connections to hosts of one reach.
pub(super) struct Connections {
    reach: Reach,
    /// Made with the first push: reading the system's certificates takes longer than the rest of a cold start.
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    connector: Connector,
    client: HttpClient,
    used_at_ms: i64,
}

impl Connections {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, kept: Mutex::default() }
    }

    /// The client for a request. After a pause it is one without connections, because those that it had may have died while
    /// the sandbox was frozen.
    pub(super) fn client(&self, now_ms: i64) -> Result<HttpClient, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match &mut *kept {
            Some(kept) => kept,
            none => {
                let connector = connector(self.reach)?;
                let client = client(&connector);
                none.insert(Kept { connector, client, used_at_ms: now_ms })
            }
        };
        if now_ms.abs_diff(kept.used_at_ms) > MAX_IDLE_MS {
            kept.client = client(&kept.connector);
        }
        kept.used_at_ms = now_ms;
        Ok(kept.client.clone())
    }
}

fn client(connector: &Connector) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(MAX_IDLE)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .build(connector.clone())
}

fn connector(reach: Reach) -> Result<Connector, String> {
    let mut connector = HttpConnector::new_with_resolver(Resolver { reach, system: GaiResolver::new() });
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("the certificate authorities cannot be read: {error}"))?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(connector))
}

/// Resolves names to the addresses that may be connected to, for each connection anew.
#[derive(Clone)]
pub(super) struct Resolver<S = GaiResolver> {
    reach: Reach,
    system: S,
}

/// A name has no address that may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
pub(super) struct NotPublic;

type Addresses = vec::IntoIter<SocketAddr>;
type BoxError = Box<dyn Error + Send + Sync>;

impl<S> Service<Name> for Resolver<S>
where
    S: Service<Name>,
    S::Response: Iterator<Item = SocketAddr>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Addresses;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Addresses, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.system.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (reach, resolved) = (self.reach, self.system.call(name));
        async move { Ok(permitted(resolved.await.map_err(Into::into)?, reach)?) }.boxed()
    }
}

/// The addresses that may be connected to. An error if there is none.
fn permitted(addresses: impl Iterator<Item = SocketAddr>, reach: Reach) -> Result<Addresses, NotPublic> {
    let permitted = addresses.filter(|address| match reach {
        Reach::Any => true,
        Reach::Public => is_public(address.ip()),
    });
    let permitted: Vec<SocketAddr> = permitted.collect();
    if permitted.is_empty() { Err(NotPublic) } else { Ok(permitted.into_iter()) }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;

    fn addresses(of: &[&str]) -> Vec<SocketAddr> {
        of.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn of_several_addresses_only_public_ones_are_connected_to() {
        let public = |of: &[&str]| permitted(addresses(of).into_iter(), Reach::Public).map(Vec::from_iter).ok();
        assert_eq!(public(&["10.0.0.5", "93.184.216.34", "::1"]), Some(addresses(&["93.184.216.34"])));
        assert_eq!(public(&["127.0.0.1", "::1", "fd00:ec2::254"]), None);
        assert_eq!(public(&[]), None);
        let any = permitted(addresses(&["10.0.0.5"]).into_iter(), Reach::Any).map(Vec::from_iter).ok();
        assert_eq!(any, Some(addresses(&["10.0.0.5"])));
    }

    /// A name that has another address each time.
    struct Rebinding(vec::IntoIter<&'static str>);

    impl Service<Name> for Rebinding {
        type Response = Addresses;
        type Error = BoxError;
        type Future = Ready<Result<Addresses, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            ready(Ok(addresses(&[self.0.next().unwrap()]).into_iter()))
        }
    }

    #[tokio::test]
    async fn a_name_that_was_public_is_not_followed_to_a_private_address() {
        let system = Rebinding(vec!["93.184.216.34", "10.0.0.5", "169.254.169.254", "93.184.216.34"].into_iter());
        let mut resolver = Resolver { reach: Reach::Public, system };
        let mut is_permitted = Vec::new();
        for _ in 0..4 {
            let resolved = resolver.call("rebinding.example.com".parse().unwrap()).await;
            is_permitted.push(resolved.map_err(|error| assert!(error.is::<NotPublic>())).is_ok());
        }
        assert_eq!(is_permitted, [true, false, false, true]);
    }
}
