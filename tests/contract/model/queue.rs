//! The queue against a model: plain lists of what waits, what is claimed and what is not due yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use shared::delivery::queue::{CLAIM_MS, ClaimId, Claimed, Depth, Entry, Queue, Resolution, Work};
use shared::inbox::notification::Priority;

use super::always;
use crate::record::{at, user};

#[derive(Debug, Clone)]
enum Act {
    Add { user: u8, priority: u8, wait_ms: i64 },
    Claim { limit: usize },
    Done { which: usize },
    Again { which: usize, wait_ms: i64 },
    Wait { ms: i64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let waits = || prop_oneof![Just(0), 1..100_i64, Just(CLAIM_MS)];
    let act = prop_oneof![
        4 => (0..5_u8, 0..4_u8, waits()).prop_map(|(user, priority, wait_ms)| Act::Add { user, priority, wait_ms }),
        3 => (0..6_usize).prop_map(|limit| Act::Claim { limit }),
        2 => (0..8_usize).prop_map(|which| Act::Done { which }),
        2 => (0..8_usize, waits()).prop_map(|(which, wait_ms)| Act::Again { which, wait_ms }),
        2 => prop_oneof![1..60_i64, Just(CLAIM_MS - 1), Just(CLAIM_MS)].prop_map(|ms| Act::Wait { ms }),
    ];
    vec(act, 1..80)
}

/// An entry of the model, known by its offset, which no two have.
#[derive(Debug, Clone)]
struct Known {
    work: Work,
    state: State,
    deliveries: u32,
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
    /// Every claim that there ever was.
    claims: Vec<(ClaimId, i64)>,
}

mod a_queue_answers_as_its_model_does {
    super::super::on_each!(meets_its_model: memory redis);
}

fn meets_its_model<Q: Queue + 'static, K>(open: impl AsyncFn() -> (Arc<Q>, K)) {
    always(acts(), async |acts: Vec<Act>| {
        let (queue, _kept) = open().await;
        let mut model = Model::default();
        // So that it was asked.
        queue.claim(1, at(0)).await;
        for act in &acts {
            model.perform(&*queue, act).await.map_err(|why| format!("{act:?}: {why}"))?;
            let (found, expected) = (queue.depth(at(model.now_ms)).await, model.depth());
            let found = found.map(|Depth { waiting, processing, delayed, .. }| [waiting, processing, delayed]);
            if found != Some(expected) {
                return Err(format!("after {act:?}: {found:?} instead of {expected:?}"));
            }
        }
        Ok(())
    });
}

impl Model {
    async fn perform(&mut self, queue: &dyn Queue, act: &Act) -> Result<(), String> {
        let at = at(self.now_ms);
        match act {
            Act::Wait { ms } => self.now_ms += ms,
            Act::Add { user: name, priority, wait_ms } => {
                let work = self.work(&name.to_string(), Priority::NAMES[usize::from(*priority)].1);
                let added = queue.add(&[Entry { work: work.clone(), wait_ms: *wait_ms }], at).await;
                if added.refused > 0 {
                    return Err("it was refused".into());
                }
                let state = self.state(*wait_ms, *wait_ms <= 0);
                self.entries.insert(work.offset, Known { work, state, deliveries: 0 });
            }
            Act::Claim { limit } => {
                self.fall_due();
                let claims = queue.claim(*limit, at).await.ok_or("it is away")?;
                self.claimed(*limit, &claims.claimed)?;
            }
            Act::Done { which } | Act::Again { which, .. } => {
                let Some((id, offset)) = self.claims.get(*which).cloned() else { return Ok(()) };
                let known = self.entries.get(&offset).cloned();
                let is_its_own = known
                    .as_ref()
                    .is_some_and(|known| matches!(&known.state, State::Claimed { id: now, .. } if *now == id));
                let settled = match (act, &known) {
                    (Act::Again { wait_ms, .. }, Some(known)) => {
                        Resolution::Retry(id, Entry { work: known.work.clone(), wait_ms: *wait_ms })
                    }
                    _ => Resolution::Done(id),
                };
                if !queue.settle(std::slice::from_ref(&settled), at).await {
                    return Err("it is away".into());
                }
                if is_its_own {
                    self.entries.remove(&offset);
                    if let (Resolution::Retry(_, Entry { work, wait_ms }), Some(_)) = (settled, known) {
                        let state = self.state(wait_ms, false);
                        self.entries.insert(offset, Known { work, state, deliveries: 0 });
                    }
                }
            }
        }
        Ok(())
    }

    fn work(&mut self, name: &str, priority: Priority) -> Work {
        self.next += 1;
        let (throttled, left) = (0, Vec::new());
        Work { user: user(name), offset: self.next, fence_ms: 1, priority, throttled, left }
    }

    fn state(&self, wait_ms: i64, is_due: bool) -> State {
        match is_due {
            true => State::Due { since_ms: self.now_ms },
            false => State::Later { due_ms: self.now_ms + wait_ms },
        }
    }

    /// What a look does: whatever is due waits from then on, in the order in which it fell due.
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
            return Err(format!("{claimed:?} instead of {expected} of {waiting} and {lapsed} that lapsed"));
        }
        for one in claimed {
            let work = one.work.as_ref().map_err(|raw| format!("{raw} cannot be read"))?;
            let known = self.entries.get_mut(&work.offset).ok_or("it was done")?;
            let may = match known.state {
                State::Due { .. } => !is_suspect,
                State::Claimed { lapses_ms, .. } => is_suspect && lapses_ms <= now_ms,
                State::Later { .. } => false,
            };
            known.deliveries += 1;
            if !may || known.deliveries != one.attempts || known.work != *work {
                return Err(format!("{one:?} instead of {known:?}"));
            }
            known.state = State::Claimed { id: one.id.clone(), lapses_ms: now_ms + CLAIM_MS };
            self.claims.push((one.id.clone(), work.offset));
        }
        Ok(())
    }

    fn depth(&self) -> [u64; 3] {
        let mut depth = [0; 3];
        for known in self.entries.values() {
            let place = match known.state {
                State::Due { since_ms } => usize::from(since_ms > self.now_ms),
                State::Claimed { .. } => 1,
                State::Later { due_ms } => 2 * usize::from(due_ms > self.now_ms),
            };
            depth[place] += 1;
        }
        depth
    }
}
