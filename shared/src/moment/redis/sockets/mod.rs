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
use crate::moment::redis::steps::{Answer, Script, Step, count_listeners, read};
use crate::moment::redis::telemetry::is_forbidden;
use crate::protocol::Frame;
use crate::secrets::Renewal;
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

pub(crate) fn read_published(answer: Answer) -> Outcome {
    match read::<u64>(answer) {
        Some(0) => Outcome::Gone,
        Some(_) => Outcome::Offered,
        None => Outcome::Failed,
    }
}

/// What became of frames that no listener heard at the server which holds their channel: one at another server, where the
/// channel was before, has heard them, since a cluster passes on what is published.
pub(crate) async fn find_elsewhere(router: &Router, keys: &Keys, streams: &[&ConnectionId]) -> Vec<Outcome> {
    let channels: Vec<Key> = streams.iter().map(|stream| keys.stream(stream)).collect();
    let channels = &channels;
    let question = |_, mut connection| async move { count_listeners(&mut connection, channels).await };
    let counts: Vec<Vec<u64>> = router.ask_each(question).await.into_iter().filter_map(|(_, counts)| counts).collect();
    let is_settled = router.is_settled();
    let found = |n: usize| match counts.iter().any(|counts| counts.get(n).is_some_and(|count| *count > 0)) {
        true => Outcome::Offered,
        false if is_settled => Outcome::Gone,
        // It may be at a server that just lost its slots, or be about to listen anew.
        false => Outcome::Failed,
    };
    (0..streams.len()).map(found).collect()
}

/// The listeners of a process.
#[derive(Debug)]
pub(crate) enum Listeners {
    Everywhere(everywhere::Listeners),
    InCluster(in_cluster::Listeners),
}

impl Listeners {
    pub(crate) fn new(config: &RedisConfig, renewal: Option<&Renewal>, router: &Router) -> Result<Self, SetupError> {
        let Router::Cluster(cluster) = router else {
            return Ok(Self::Everywhere(everywhere::Listeners::new(config, renewal)?));
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
