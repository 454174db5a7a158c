//! The Redis instances of a deployment, of which there is one today: routes each step to the instance that holds its
//! partition, and asks all instances at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use super::keys::Partition;
use super::link::Link;
use super::steps::{Step, perform};

/// The answer to one step: `None` if its instance gave none, an error if it is one that the step tolerates.
pub(crate) type Answer = Option<RedisResult<Value>>;

/// Links to all instances.
#[derive(Debug)]
pub(crate) struct Router {
    links: Vec<Arc<Link>>,
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
    pub(crate) fn new(link: Link) -> Self {
        Self { links: vec![Arc::new(link)] }
    }

    /// Performs steps, in one pipeline per instance. The answers are in the order of the steps.
    pub(crate) async fn ask(&self, steps: &[Step], retry: Retry) -> Vec<Answer> {
        let mut by_instance: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, step) in steps.iter().enumerate() {
            by_instance.entry(self.home(step.partition())).or_default().push(n);
        }
        let groups = by_instance.iter().map(|(instance, places)| async move {
            let group: Vec<&Step> = places.iter().map(|n| &steps[*n]).collect();
            let group = &group;
            let question = |mut connection: MultiplexedConnection| async move { perform(&mut connection, group).await };
            (places, ask_one(&self.links[*instance], question, retry).await)
        });
        let mut answers: Vec<Answer> = steps.iter().map(|_| None).collect();
        for (places, answered) in futures_util::future::join_all(groups).await {
            for (n, answer) in places.iter().zip(answered.into_iter().flatten()) {
                answers[*n] = Some(answer);
            }
        }
        answers
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
        futures_util::future::join_all(asked).await
    }

    /// The index of the instance that holds a partition.
    fn home(&self, _: Partition) -> usize {
        0
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
