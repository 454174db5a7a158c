//! The queue against a model: plain lists of what is waiting, claimed and not due yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use shared::delivery::queue::{CLAIM_MS, ClaimId, Claimed, Depth, Entry, Queue, Resolution};
use shared::delivery::work::{PushWork, Work};
use shared::inbox::notification::Priority;

use super::for_all;
use crate::record::{at, user};

#[derive(Debug, Clone)]
enum Operation {
    Add { user: u8, priority: u8, wait_ms: i64 },
    Claim { limit: usize },
    Done { which: usize },
    Retry { which: usize, wait_ms: i64 },
    Wait { ms: i64 },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let waits = || prop_oneof![Just(0), 1..100_i64, Just(CLAIM_MS)];
    let operation = prop_oneof![
        4 => (0..5_u8, 0..4_u8, waits())
            .prop_map(|(user, priority, wait_ms)| Operation::Add { user, priority, wait_ms }),
        3 => (0..6_usize).prop_map(|limit| Operation::Claim { limit }),
        2 => (0..8_usize).prop_map(|which| Operation::Done { which }),
        2 => (0..8_usize, waits()).prop_map(|(which, wait_ms)| Operation::Retry { which, wait_ms }),
        2 => prop_oneof![1..60_i64, Just(CLAIM_MS - 1), Just(CLAIM_MS)].prop_map(|ms| Operation::Wait { ms }),
    ];
    vec(operation, 1..80)
}

/// An entry of the model, identified by its offset, which is unique.
#[derive(Debug, Clone)]
struct Known {
    work: PushWork,
    state: State,
    attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Due { since_ms: i64 },
    Later { due_ms: i64 },
    Claimed { id: ClaimId, lapses_ms: i64 },
}

#[derive(Debug, Default)]
struct Model {
    now_ms: i64,
    next: i64,
    entries: BTreeMap<i64, Known>,
    /// Every claim that was ever made, with the offset of its entry.
    claims: Vec<(ClaimId, i64)>,
}

mod a_queue_answers_like_its_model {
    super::super::on_each!(answers_like_its_model: memory redis);
}

fn answers_like_its_model<Q: Queue + 'static, K>(open: impl AsyncFn() -> (Arc<Q>, K)) {
    for_all(operations(), async |operations: Vec<Operation>| {
        let (queue, _guard) = open().await;
        let mut model = Model::default();
        // The Redis guard expects that the queue is used, even if the list does nothing.
        queue.claim(1, at(0)).await;
        for operation in &operations {
            model.perform(&*queue, operation).await.map_err(|why| format!("{operation:?}: {why}"))?;
            let (found, expected) = (queue.depth(at(model.now_ms)).await, model.depth());
            let found = found.map(|Depth { waiting, processing, delayed, .. }| [waiting, processing, delayed]);
            if found != Some(expected) {
                return Err(format!("after {operation:?}: found depth {found:?}, expected {expected:?}"));
            }
        }
        Ok(())
    });
}

impl Model {
    async fn perform(&mut self, queue: &dyn Queue, operation: &Operation) -> Result<(), String> {
        let at = at(self.now_ms);
        match operation {
            Operation::Wait { ms } => self.now_ms += ms,
            Operation::Add { user: name, priority, wait_ms } => {
                let work = self.work(&name.to_string(), Priority::NAMES[usize::from(*priority)].1);
                let added = queue.add(&[Entry { work: work.clone().into(), wait_ms: *wait_ms }], at).await;
                if added.refused > 0 {
                    return Err("the entry was refused".into());
                }
                let state = self.state(*wait_ms, *wait_ms <= 0);
                self.entries.insert(work.offset, Known { work, state, attempts: 0 });
            }
            Operation::Claim { limit } => {
                self.fall_due();
                let claims = queue.claim(*limit, at).await.ok_or("the moment is unavailable")?;
                self.claimed(*limit, &claims.claimed)?;
            }
            Operation::Done { which } | Operation::Retry { which, .. } => {
                let Some((id, offset)) = self.claims.get(*which).cloned() else { return Ok(()) };
                let known = self.entries.get(&offset).cloned();
                let is_current = known
                    .as_ref()
                    .is_some_and(|known| matches!(&known.state, State::Claimed { id: now, .. } if *now == id));
                let settled = match (operation, &known) {
                    (Operation::Retry { wait_ms, .. }, Some(known)) => {
                        Resolution::Retry(id, Entry { work: known.work.clone().into(), wait_ms: *wait_ms })
                    }
                    _ => Resolution::Done(id),
                };
                if !queue.settle(std::slice::from_ref(&settled), at).await {
                    return Err("the moment is unavailable".into());
                }
                if is_current {
                    self.entries.remove(&offset);
                    if let (Resolution::Retry(_, Entry { wait_ms, .. }), Some(Known { work, .. })) = (settled, known) {
                        let state = self.state(wait_ms, false);
                        self.entries.insert(offset, Known { work, state, attempts: 0 });
                    }
                }
            }
        }
        Ok(())
    }

    fn work(&mut self, name: &str, priority: Priority) -> PushWork {
        self.next += 1;
        let (throttled, left) = (0, Vec::new());
        PushWork { user: user(name), offset: self.next, fence_ms: 1, priority, throttled, left }
    }

    fn state(&self, wait_ms: i64, is_due: bool) -> State {
        match is_due {
            true => State::Due { since_ms: self.now_ms },
            false => State::Later { due_ms: self.now_ms + wait_ms },
        }
    }

    /// What a claim does first: whatever is due is waiting from then on, in the order in which it fell due.
    fn fall_due(&mut self) {
        let now_ms = self.now_ms;
        for known in self.entries.values_mut() {
            if let State::Later { due_ms } = known.state
                && due_ms <= now_ms
            {
                known.state = State::Due { since_ms: due_ms };
            }
        }
    }

    fn claimed(&mut self, limit: usize, claimed: &[Claimed]) -> Result<(), String> {
        let now_ms = self.now_ms;
        let waiting = self.entries.values().filter(|known| matches!(known.state, State::Due { .. })).count();
        let is_lapsed = |known: &Known| matches!(known.state, State::Claimed { lapses_ms, .. } if lapses_ms <= now_ms);
        let lapsed = self.entries.values().filter(|known| is_lapsed(known)).count();
        let is_suspect = claimed.iter().any(|claimed| claimed.attempts > 1);
        let expected = match (is_suspect, limit, waiting, lapsed) {
            (true, ..) | (false, 1.., 0, 1..) => limit.min(lapsed).min(1),
            _ => limit.min(waiting),
        };
        if claimed.len() != expected {
            return Err(format!("claimed {claimed:?}, expected {expected} of {waiting} waiting and {lapsed} lapsed"));
        }
        for one in claimed {
            let Ok(Work::Push(work)) = &one.work else { return Err(format!("claimed {one:?}")) };
            let known = self.entries.get_mut(&work.offset).ok_or("a finished entry was claimed")?;
            let is_allowed = match known.state {
                State::Due { .. } => !is_suspect,
                State::Claimed { lapses_ms, .. } => is_suspect && lapses_ms <= now_ms,
                State::Later { .. } => false,
            };
            known.attempts += 1;
            if !is_allowed || known.attempts != one.attempts || known.work != *work {
                return Err(format!("claimed {one:?}, expected {known:?}"));
            }
            known.state = State::Claimed { id: one.id.clone(), lapses_ms: now_ms + CLAIM_MS };
            self.claims.push((one.id.clone(), work.offset));
        }
        Ok(())
    }

    fn depth(&self) -> [u64; 3] {
        let mut depth = [0; 3];
        for known in self.entries.values() {
            let index = match known.state {
                State::Due { since_ms } => usize::from(since_ms > self.now_ms),
                State::Claimed { .. } => 1,
                State::Later { due_ms } => 2 * usize::from(due_ms > self.now_ms),
            };
            depth[index] += 1;
        }
        depth
    }
}
