//! A cluster. A stream listens at the server that holds its partition, where frames are published too, so that their
//! publisher learns whether they were heard.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::OptionFuture;
use tokio::time::{Interval, interval, timeout};

use super::listener::RedisListening;
use crate::moment::redis::keys::Key;
use crate::moment::redis::routing::cluster::{Cluster, Server};
use crate::protocol::Frame;
use crate::sockets::streams::Listening;
use crate::telemetry::health::BreakerState;

/// How long a stream waits until it listens.
const HASTE: Duration = Duration::from_millis(500);
/// How often a stream makes sure that it listens at the right server: the old one closes nothing.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How old what is known of the slots may become while streams are open. Well below the time for which publishers expect it.
const MAX_AGE: Duration = Duration::from_secs(8);

/// The listeners at the servers of a cluster.
#[derive(Debug)]
pub(crate) struct Listeners(Arc<Cluster>);

impl Listeners {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self(cluster)
    }

    /// Listens to a channel from now on. `None` if its server is unavailable.
    pub(super) async fn listen(&self, channel: &Key) -> Option<Box<dyn Listening>> {
        let server = self.0.owner(channel.partition()).await?;
        let is_there = server.link.breaker() == BreakerState::Closed;
        // One that hangs must not keep the stream from looking at the record.
        let listening = OptionFuture::from(is_there.then(|| timeout(HASTE, server.listener.listen(channel))));
        let Some(part) = listening.await.and_then(Result::ok).flatten() else {
            // Another may hold its slots by now.
            self.0.read_in_background();
            return None;
        };
        let (cluster, channel, check) = (Arc::clone(&self.0), channel.clone(), interval(CHECK_INTERVAL));
        Some(Box::new(AtOwner { part, server, cluster, channel, check }))
    }
}

/// Hears one channel at the server that holds its partition, until another does.
struct AtOwner {
    part: RedisListening,
    server: Arc<Server>,
    cluster: Arc<Cluster>,
    channel: Key,
    check: Interval,
}

#[async_trait]
impl Listening for AtOwner {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            tokio::select! {
                biased;
                frame = self.part.frames.recv() => return frame,
                _ = self.check.tick() => {
                    self.cluster.read_if_older_than(MAX_AGE);
                    let owner = self.cluster.owner(self.channel.partition()).await;
                    // Frames may have been missed.
                    if !owner.is_some_and(|owner| Arc::ptr_eq(&owner, &self.server)) {
                        return None;
                    }
                }
            }
        }
    }
}
