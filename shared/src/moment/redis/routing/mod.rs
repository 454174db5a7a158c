//! Where each step is performed. Knows the three ways in which a deployment has Redis: one instance, several among which
//! everything is divided, or a cluster.

mod balance;
pub(crate) mod cluster;
pub(crate) mod divided;
mod slots;

use std::sync::Arc;

use futures_util::future::join_all;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use self::cluster::Cluster;
use self::divided::Divided;
use super::client::SetupError;
use super::link::{Link, Linking, Patience};
use super::steps::{Answer, Step};

/// Routes steps by their partitions. A whole cluster counts as one instance: it alone decides where a partition is.
#[derive(Debug)]
pub(crate) enum Router {
    Divided(Divided),
    Cluster(Arc<Cluster>),
}

impl Router {
    pub(crate) fn new(linking: Linking) -> Result<Self, SetupError> {
        Ok(if linking.config.is_cluster {
            Self::Cluster(Arc::new(Cluster::new(linking)?))
        } else {
            Self::Divided(Divided::new(&linking)?)
        })
    }

    /// The numbers of all instances.
    pub(crate) fn instances(&self) -> std::ops::Range<usize> {
        match self {
            Self::Divided(divided) => 0..divided.links().len(),
            Self::Cluster(_) => 0..1,
        }
    }

    /// Performs steps, in one pipeline per server, where their partitions are. The answers are in the order of the steps. A
    /// step may be performed twice.
    pub(crate) async fn ask(&self, steps: &[Step], patience: Patience) -> Vec<Answer> {
        match self {
            Self::Divided(divided) => divided.ask(steps, patience).await,
            Self::Cluster(cluster) => cluster.ask(steps, patience).await,
        }
    }

    /// The same, but performs the last step after the others. One server does so anyway, in one round trip.
    pub(crate) async fn ask_in_order(&self, steps: &[Step], patience: Patience) -> Vec<Answer> {
        let is_one_server = matches!(self, Self::Divided(divided) if divided.links().len() == 1);
        match steps.split_last() {
            Some((last, others)) if !is_one_server && !others.is_empty() => {
                let mut answers = self.ask(others, patience).await;
                answers.extend(self.ask(std::slice::from_ref(last), patience).await);
                answers
            }
            _ => self.ask(steps, patience).await,
        }
    }

    /// Performs steps at one instance, whatever partitions they are of.
    pub(crate) async fn ask_at(&self, instance: usize, steps: &[Step], patience: Patience) -> Vec<Answer> {
        match self {
            Self::Divided(divided) => divided.ask_at(instance, steps, patience).await,
            Self::Cluster(cluster) => cluster.ask(steps, patience).await,
        }
    }

    /// How long another router waits for an instance to which this one has links, if its answer matters.
    pub(crate) fn patience(&self, instance: usize) -> Patience {
        match self {
            Self::Divided(divided) if divided.links()[instance].is_silent() => Patience::Brief,
            Self::Divided(_) | Self::Cluster(_) => Patience::Long,
        }
    }

    /// Performs the same steps at every instance. The answers of each are in the order of the steps.
    pub(crate) async fn ask_everywhere(&self, steps: &[Step], patience: Patience) -> Vec<Vec<Answer>> {
        join_all(self.instances().map(|instance| self.ask_at(instance, steps, patience))).await
    }

    /// Asks every server the same question; each with its link, and `None` from one that does not answer.
    pub(crate) async fn ask_each<T, F>(
        &self,
        question: impl Fn(Arc<Link>, MultiplexedConnection) -> F,
    ) -> Vec<(Arc<Link>, Option<T>)>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let links = match self {
            Self::Divided(divided) => divided.links().to_vec(),
            Self::Cluster(cluster) => match cluster.links().await {
                Some(links) => links,
                None => return vec![(Arc::clone(cluster.entry()), None)],
            },
        };
        let question = &question;
        let asked = links.into_iter().map(|link| async move {
            let asking = |connection| question(Arc::clone(&link), connection);
            let answer = link.ask(asking, Patience::Retrying).await;
            (link, answer)
        });
        join_all(asked).await
    }

    /// Whether every process knows where each partition is. Several instances are listened at all together.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Divided(_) => true,
            Self::Cluster(cluster) => cluster.is_settled(),
        }
    }

    /// Which share of the partitions of users and chats this server holds at this moment: 0 to 1.
    pub(crate) fn share(&self, link: &Arc<Link>) -> f64 {
        match self {
            Self::Divided(divided) => divided.share(link),
            Self::Cluster(cluster) => cluster.share(link),
        }
    }
}
