//! The Redis instances of a deployment: routes each step to the instance that holds its partition, or asks a certain one, or
//! all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use super::balance::{self, Candidate};
use super::keys::Partition;
use super::link::Link;
use super::steps::{Step, perform};
use crate::config::RedisConfig;
use crate::telemetry::health::BreakerState;

/// The answer to one step: `None` if its instance gave none, an error if it is one that the step tolerates.
pub(crate) type Answer = Option<RedisResult<Value>>;

/// Links to all instances, which are known by their numbers.
#[derive(Debug)]
pub(crate) struct Router {
    links: Vec<Arc<Link>>,
    candidates: Vec<Candidate>,
}

/// Whether an instance that gives no answer is asked again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Retry {
    /// No: the call can go on without an answer.
    Never,
    /// Once more if a probe finds the instance back, within the timeout of one call: for callers that only read.
    AfterProbe,
}

impl Router {
    /// A link for each instance of the configuration, in its order.
    pub(crate) fn new(config: &RedisConfig, links: Vec<Link>) -> Self {
        let candidates = config.instances.iter().map(Candidate::new).collect();
        Self { links: links.into_iter().map(Arc::new).collect(), candidates }
    }

    /// The numbers of all instances.
    pub(crate) fn instances(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.links.len()
    }

    /// Performs steps, in one pipeline per instance. The answers are in the order of the steps. If an instance gives no answer, its
    /// steps are performed by those that take over: a step may be performed twice.
    pub(crate) async fn ask(&self, steps: &[Step], retry: Retry) -> Vec<Answer> {
        let mut answers: Vec<Answer> = steps.iter().map(|_| None).collect();
        if self.links.len() > 1 {
            // Later calls will ask the others too: a burst of them that waits for a connection would give up.
            self.links.iter().for_each(Link::warm_up);
        }
        let homes: Vec<usize> = steps.iter().map(|step| self.home(step.partition(), None)).collect();
        self.ask_at_homes(steps, homes.iter().copied().enumerate(), retry, &mut answers).await;
        if self.links.len() > 1 && answers.iter().any(Option::is_none) {
            let unanswered = (0..steps.len()).filter(|n| answers[*n].is_none());
            let moved = unanswered.map(|n| (n, self.home(steps[n].partition(), Some(homes[n]))));
            let moved: Vec<(usize, usize)> = moved.collect();
            self.ask_at_homes(steps, moved.into_iter(), retry, &mut answers).await;
        }
        answers
    }

    /// Performs steps, given by their places and instances.
    async fn ask_at_homes(
        &self,
        steps: &[Step],
        places: impl Iterator<Item = (usize, usize)>,
        retry: Retry,
        answers: &mut [Answer],
    ) {
        let mut by_instance: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, instance) in places {
            by_instance.entry(instance).or_default().push(n);
        }
        let groups = by_instance.iter().map(|(instance, places)| async move {
            let group: Vec<&Step> = places.iter().map(|n| &steps[*n]).collect();
            (places, self.perform_at(*instance, &group, retry).await)
        });
        for (places, answered) in join_all(groups).await {
            for (n, answer) in places.iter().zip(answered) {
                answers[*n] = answer;
            }
        }
    }

    /// Performs steps at one instance, whatever partitions they are of.
    pub(crate) async fn ask_at(&self, instance: usize, steps: &[Step], retry: Retry) -> Vec<Answer> {
        self.perform_at(instance, &steps.iter().collect::<Vec<_>>(), retry).await
    }

    /// Performs the same steps at every instance. The answers of each are in the order of the steps.
    pub(crate) async fn ask_everywhere(&self, steps: &[Step], retry: Retry) -> Vec<Vec<Answer>> {
        join_all(self.instances().map(|instance| self.ask_at(instance, steps, retry))).await
    }

    async fn perform_at(&self, instance: usize, steps: &[&Step], retry: Retry) -> Vec<Answer> {
        if steps.is_empty() {
            return Vec::new();
        }
        let question = |mut connection: MultiplexedConnection| async move { perform(&mut connection, steps).await };
        match ask_one(&self.links[instance], question, retry).await {
            Some(answers) => answers.into_iter().map(Some).collect(),
            None => steps.iter().map(|_| None).collect(),
        }
    }

    /// Asks every instance the same question; each with its link, and `None` from one that does not answer.
    pub(crate) async fn ask_each<T, F>(&self, question: impl Fn(MultiplexedConnection) -> F) -> Vec<(&Link, Option<T>)>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let asked = self.links.iter().map(|link| async {
            let answer = ask_one(link, &question, Retry::AfterProbe).await;
            (&**link, answer)
        });
        join_all(asked).await
    }

    /// Which share of the partitions of users and chats each instance holds at this moment: 0 to 1.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let mut held = vec![0_u32; self.links.len()];
        for partition in Partition::hashed() {
            held[self.home(partition, None)] += 1;
        }
        let all: u32 = held.iter().sum();
        held.into_iter().map(|held| f64::from(held) / f64::from(all)).collect()
    }

    /// The number of the instance that holds a partition: of those that are there, the one that suits it best. One that has just
    /// come back counts as there only if no other is. `silent`: one that gave no answer, which is left out if there are others.
    fn home(&self, partition: Partition, silent: Option<usize>) -> usize {
        if self.links.len() == 1 {
            return 0;
        }
        let mut ranked = balance::ranked(&self.candidates, partition);
        ranked.retain(|instance| Some(*instance) != silent);
        for instance in &ranked {
            if self.links[*instance].is_steady() {
                return *instance;
            }
            self.links[*instance].probe_if_due();
        }
        ranked
            .iter()
            .copied()
            .find(|instance| self.links[*instance].breaker() == BreakerState::Closed)
            .unwrap_or(ranked[0])
    }
}

async fn ask_one<T, F>(link: &Arc<Link>, question: impl Fn(MultiplexedConnection) -> F, retry: Retry) -> Option<T>
where
    F: Future<Output = RedisResult<T>>,
{
    match retry {
        Retry::Never => link.ask(&question).await,
        Retry::AfterProbe => {
            let answer = async {
                match link.ask(&question).await {
                    None if link.is_back().await => link.ask(&question).await,
                    answer => answer,
                }
            };
            timeout(link.bound(), answer).await.ok().flatten()
        }
    }
}

/// Reads an answer. `None` if there is none, or if it is not what the step returns, which is a bug and logged.
pub(crate) fn read<T: FromRedisValue>(answer: Answer) -> Option<T> {
    let value = answer?.ok()?;
    from_redis_value(value)
        .inspect_err(|error| tracing::error!(%error, "an answer of Redis has an unexpected shape"))
        .ok()
}
