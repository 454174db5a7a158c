//! One instance or several, among which this process divides the partitions: each step goes to the instance that suits its
//! partition best, of those that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use super::balance::{self, Candidate};
use crate::moment::redis::client::SetupError;
use crate::moment::redis::keys::Partition;
use crate::moment::redis::link::{Link, Linking, Patience};
use crate::moment::redis::steps::{Answer, Step, perform};
use crate::telemetry::health::BreakerState;

/// Links to all instances, which are known by their numbers.
#[derive(Debug)]
pub(crate) struct Divided {
    links: Vec<Arc<Link>>,
    candidates: Vec<Candidate>,
}

impl Divided {
    /// A link for each instance of the configuration, in its order: `redis-1` and so on.
    pub(crate) fn new(linking: &Linking) -> Result<Self, SetupError> {
        let instances = &linking.config.instances;
        let link = |(instance, n): (_, usize)| {
            Ok(Arc::new(linking.link(format!("redis-{n}"), instance, linking.probe(Partition::FIRST))?))
        };
        let links = instances.iter().zip(1..).map(link).collect::<Result<Vec<_>, SetupError>>()?;
        Ok(Self { links, candidates: instances.iter().map(Candidate::new).collect() })
    }

    pub(crate) fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Performs steps, in one pipeline per instance. The answers are in the order of the steps. If an instance gives no answer, its
    /// steps are performed by those that take over: a step may be performed twice.
    pub(crate) async fn ask(&self, steps: &[Step], patience: Patience) -> Vec<Answer> {
        let mut answers: Vec<Answer> = steps.iter().map(|_| None).collect();
        if self.links.len() > 1 {
            // Later calls will ask the others too: a burst of them that waits for a connection would give up.
            self.links.iter().for_each(Link::warm_up);
        }
        let homes: Vec<usize> = steps.iter().map(|step| self.home(step.partition(), None)).collect();
        self.ask_at_homes(steps, homes.iter().copied().enumerate(), patience, &mut answers).await;
        if self.links.len() > 1 && answers.iter().any(Option::is_none) {
            let unanswered = (0..steps.len()).filter(|n| answers[*n].is_none());
            let moved = unanswered.map(|n| (n, self.home(steps[n].partition(), Some(homes[n]))));
            let moved: Vec<(usize, usize)> = moved.collect();
            self.ask_at_homes(steps, moved.into_iter(), patience, &mut answers).await;
        }
        answers
    }

    /// Performs steps, given by their places and instances.
    async fn ask_at_homes(
        &self,
        steps: &[Step],
        places: impl Iterator<Item = (usize, usize)>,
        patience: Patience,
        answers: &mut [Answer],
    ) {
        let mut by_instance: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, instance) in places {
            by_instance.entry(instance).or_default().push(n);
        }
        let groups = by_instance.iter().map(|(instance, places)| async move {
            let group: Vec<&Step> = places.iter().map(|n| &steps[*n]).collect();
            (places, self.perform_at(*instance, &group, patience).await)
        });
        for (places, answered) in join_all(groups).await {
            for (n, answer) in places.iter().zip(answered) {
                answers[*n] = answer;
            }
        }
    }

    /// Performs steps at one instance, whatever partitions they are of.
    pub(crate) async fn ask_at(&self, instance: usize, steps: &[Step], patience: Patience) -> Vec<Answer> {
        self.perform_at(instance, &steps.iter().collect::<Vec<_>>(), patience).await
    }

    async fn perform_at(&self, instance: usize, steps: &[&Step], patience: Patience) -> Vec<Answer> {
        if steps.is_empty() {
            return Vec::new();
        }
        let question = |mut connection: MultiplexedConnection| async move { perform(&mut connection, steps).await };
        match self.links[instance].ask(question, patience).await {
            Some(answers) => answers.into_iter().map(Some).collect(),
            None => steps.iter().map(|_| None).collect(),
        }
    }

    /// Which share of the partitions of users and chats an instance holds at this moment.
    pub(crate) fn share(&self, link: &Arc<Link>) -> f64 {
        Partition::share(|partition| Arc::ptr_eq(&self.links[self.home(partition, None)], link))
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
