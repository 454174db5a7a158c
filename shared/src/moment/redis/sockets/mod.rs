//! Event streams in Redis: a channel for each, and one connection to each instance, on which this process listens to all that it
//! holds open.

mod everywhere;
mod in_cluster;
pub(crate) mod listener;

use std::sync::{Arc, LazyLock};

use crate::config::RedisConfig;
use crate::ids::ConnectionId;
use crate::moment::redis::client::SetupError;
use crate::moment::redis::keys::{Key, Keys};
use crate::moment::redis::routing::Router;
use crate::moment::redis::steps::{Answer, Script, Step, read};
use crate::moment::redis::telemetry::is_forbidden;
use crate::protocol::Frame;
use crate::sockets::push::Outcome;
use crate::sockets::streams::Listening;

/// Publishes with the channel as a key: in a cluster, a server that does not hold it says who does.
static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("publish.lua")));

/// Publishes a frame to its stream.
pub(crate) fn publish(keys: &Keys, stream: &ConnectionId, frame: &Frame, is_cluster: bool) -> Step {
    let channel = keys.stream(stream);
    let step = match is_cluster {
        true => Step::script(&PUBLISH, vec![channel]),
        false => Step::command("PUBLISH", channel),
    };
    // A channel that the access list forbids says nothing about the server.
    step.arg(&**frame).tolerating(is_forbidden)
}

/// `is_settled`: whether a listener would have been found.
pub(crate) fn read_published(answer: Answer, is_settled: bool) -> Outcome {
    match read::<u64>(answer) {
        Some(0) if is_settled => Outcome::Gone,
        Some(0) => Outcome::Failed,
        Some(_) => Outcome::Offered,
        None => Outcome::Failed,
    }
}

/// The listeners of a process.
#[derive(Debug)]
pub(crate) enum Listeners {
    Everywhere(everywhere::Listeners),
    InCluster(in_cluster::Listeners),
}

impl Listeners {
    pub(crate) fn new(config: &RedisConfig, router: &Router) -> Result<Self, SetupError> {
        let Router::Cluster(cluster) = router else {
            return Ok(Self::Everywhere(everywhere::Listeners::new(config)?));
        };
        Ok(Self::InCluster(in_cluster::Listeners::new(Arc::clone(cluster))))
    }

    /// Listens to a channel from now on. `None` if it cannot be heard now.
    pub(crate) async fn listen(&self, channel: &Key) -> Option<Box<dyn Listening>> {
        match self {
            Self::Everywhere(listeners) => listeners.listen(channel).await,
            Self::InCluster(listeners) => listeners.listen(channel).await,
        }
    }
}
