//! The acts that meet: an inbox that each of them changes or reads, and what may come of two.

use shared::error::StoreError;
use shared::ids::UserId;

use super::lock::{Begun, Which};
use crate::model::{Model, Operation, Outcome, Spot, What, differences, leave, perform};
use crate::record::Record;

/// What is done to one inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A send, each time another.
    Append,
    /// A send, each time another, of the same collapse key as one that is unread.
    Collapse,
    /// A send, each time the same.
    Repeat,
    Read,
    Unread,
    Delete,
    ReadAll,
    Acknowledge,
    MaterialiseNext,
    /// Of a send that is due, and still scheduled.
    Cancel,
    TakeDue,
    Take,
    MarkOffered,
    MarkResynced,
    /// Of the tombstones that stand before.
    Purge,
    Expire,
}

pub(super) const ACTS: [Act; 16] = [
    Act::Append,
    Act::Collapse,
    Act::Repeat,
    Act::Read,
    Act::Unread,
    Act::Delete,
    Act::ReadAll,
    Act::Acknowledge,
    Act::MaterialiseNext,
    Act::Cancel,
    Act::TakeDue,
    Act::Take,
    Act::MarkOffered,
    Act::MarkResynced,
    Act::Purge,
    Act::Expire,
];

/// The user whose inbox it is; another one is the first recipient of sends to many.
const ALICE: usize = 1;
const FIRST_KEYS: [u8; 4] = [0, 1, 2, 3];
const SCHEDULED: u8 = 7;
/// Of a collapse key.
const FIRST_OF_ITS_KEY: u8 = 31;
const EXPIRED_KEYS: [u8; 3] = [8, 9, 30];

impl Act {
    /// Whether it cannot end while this is held. Taking waits for nobody; what was offered touches no inbox, and neither
    /// does cancelling.
    fn needs(self, which: Which) -> bool {
        match self {
            Self::Append | Self::Repeat | Self::Acknowledge => which == Which::Inbox,
            Self::MaterialiseNext => which != Which::Rows,
            Self::Cancel => which == Which::Sends,
            Self::Read | Self::Unread | Self::Delete | Self::ReadAll | Self::Expire | Self::Collapse => {
                which != Which::Sends
            }
            // Of two that purge, the second finds nothing left.
            Self::TakeDue | Self::Take | Self::Purge => false,
            Self::MarkOffered | Self::MarkResynced => which == Which::Rows,
        }
    }

    fn operation(self, turn: usize, head: i64) -> Operation {
        let turn_key = u8::try_from(turn).unwrap();
        let all =
            || FIRST_KEYS.into_iter().chain(EXPIRED_KEYS).chain([FIRST_OF_ITS_KEY]).map(|key| (key, ALICE)).collect();
        let change = |what| Operation::Change { user: ALICE, what, ids: all() };
        match self {
            Self::Append => to_alice(10 + turn_key),
            Self::Repeat => to_alice(20),
            Self::Collapse => collapsing(40 + turn_key, 0),
            Self::Read => change(What::Read),
            Self::Unread => change(What::Unread),
            Self::Delete => change(What::Delete),
            Self::ReadAll => Operation::ReadAll { user: ALICE, kind: None, before: None },
            Self::Acknowledge => {
                let offset = head - i64::try_from(turn).unwrap();
                Operation::Acknowledge { user: ALICE, cursor: Spot { offset, foreign: false } }
            }
            Self::MaterialiseNext => Operation::MaterialiseNext,
            Self::Cancel => Operation::Cancel { key: SCHEDULED },
            Self::TakeDue => Operation::TakeDue { limit: usize::MAX },
            Self::Expire => Operation::Expire { limit: usize::MAX },
            Self::Take => Operation::Take { rows: vec![(ALICE, 1, 0), (ALICE, 3, 0)] },
            Self::MarkOffered => Operation::MarkOffered { rows: vec![(ALICE, 1), (ALICE, 2), (ALICE, 3)] },
            // Not of those that the other act makes.
            Self::Purge => Operation::Purge { retention_ms: 1_000 },
            Self::MarkResynced => Operation::MarkResynced { users: vec![(ALICE, 3)] },
        }
    }
}

fn to_alice(key: u8) -> Operation {
    Operation::Append { key, kind: 0, to: 1 << ALICE, others: 0, delay_ms: 0, lives_ms: None, collapse: None }
}

fn collapsing(key: u8, delay_ms: i64) -> Operation {
    Operation::Append { key, kind: 0, to: 1 << ALICE, others: 0, delay_ms, lives_ms: None, collapse: Some(0) }
}

/// Two acts on one inbox, and what is known before them.
pub(super) struct Meeting {
    acts: [Act; 2],
    which: Which,
    operations: [Operation; 2],
    before: Model,
}

impl Meeting {
    /// An inbox of its own, connected, with something unread, read, deleted, due and expired; where chunks are to be
    /// materialised, two wait for it.
    pub(super) async fn prepare(record: &Record, which: Which, acts: [Act; 2]) -> Self {
        let prefix = format!("{which:?} {acts:?} ");
        let mut before = Model::new(record, &prefix, &["first", "alice"]).await;
        let mut beginning = vec![
            Operation::Issue { ticket: 0, user: ALICE, origin: 0, lives_ms: 1_000, token_ms: 9_000_000 },
            Operation::Open { ticket: 0, origin: 0 },
        ];
        beginning.extend(FIRST_KEYS.map(to_alice));
        beginning.extend(EXPIRED_KEYS.map(|key| Operation::Append {
            key,
            kind: 0,
            to: 1 << ALICE,
            others: 0,
            delay_ms: 0,
            lives_ms: Some(3_000),
            collapse: None,
        }));
        beginning.push(collapsing(FIRST_OF_ITS_KEY, 0));
        let first_two = |what, key| Operation::Change { user: ALICE, what, ids: vec![(key, ALICE)] };
        beginning.extend([first_two(What::Read, 1), first_two(What::Delete, 3), first_two(What::Read, 8)]);
        if acts.contains(&Act::Cancel) {
            // The only chunk that there is, for whoever materialises.
            beginning.push(Operation::Append {
                key: SCHEDULED,
                kind: 0,
                to: 1 << ALICE,
                others: 0,
                delay_ms: 1_000,
                lives_ms: None,
                collapse: Some(0),
            });
        } else if acts.contains(&Act::MaterialiseNext) {
            // The first 200 are others.
            beginning.extend([5, 6].map(|key| Operation::Append {
                key,
                kind: 0,
                to: 0b11,
                others: 199,
                delay_ms: 0,
                lives_ms: None,
                collapse: (key == 6).then_some(0),
            }));
        }
        // Past the grace of what was sent.
        beginning.push(Operation::Wait { ms: 6_000 });
        for operation in &beginning {
            let outcome = perform(record, &before, operation).await.unwrap();
            before.accept(operation, &outcome).unwrap();
        }
        let head = record.position(before.user(ALICE).as_str()).await.head;
        let operations = [acts[0].operation(0, head), acts[1].operation(1, head)];
        Self { acts, which, operations, before }
    }

    /// Whether anybody could wait for what is held.
    pub(super) fn is_one(which: Which, acts: [Act; 2]) -> bool {
        which != Which::Sends || acts.iter().any(|act| act.needs(which))
    }

    /// Whose inbox it is.
    pub(super) fn user(&self) -> &UserId {
        self.before.user(ALICE)
    }

    pub(super) fn begin(&self, record: &Record, turn: usize) -> Begun {
        let (record, before, operation) = (record.clone(), self.before.clone(), self.operations[turn].clone());
        Begun::new(async move { perform(&record, &before, &operation).await })
    }

    /// Who needs what is held has not ended.
    pub(super) fn assert_overlap(&self, begun: [&Begun; 2]) {
        for (act, begun) in self.acts.iter().zip(begun) {
            // What is cancelled, or about to be, is not there to be materialised.
            let finds_nothing = self.acts == [Act::Cancel, Act::MaterialiseNext] && *act == Act::MaterialiseNext;
            assert!(
                finds_nothing || !(act.needs(self.which) && begun.has_ended()),
                "{:?} held: {act:?} did not wait",
                self.which
            );
        }
    }

    /// Both answered, and left the inbox, as one of the two orders would have. Ends what is under way.
    pub(super) async fn assert_one_after_the_other(self, record: &Record, outcomes: [Result<Outcome, StoreError>; 2]) {
        let outcomes = outcomes.map(|outcome| outcome.unwrap_or_else(|error| panic!("{:?}: {error}", self.acts)));
        let mut reasons = Vec::new();
        for order in [[0, 1], [1, 0]] {
            match self.ended_as(record, &outcomes, order).await {
                Ok(()) => break,
                Err(why) => {
                    reasons.push(format!("not {:?} before {:?}: {why}", self.acts[order[0]], self.acts[order[1]]))
                }
            }
        }
        assert!(reasons.len() < 2, "{:?} held: {}\n{outcomes:#?}", self.which, reasons.join("\n"));
        leave(record, &self.before).await.unwrap();
    }

    async fn ended_as(&self, record: &Record, outcomes: &[Outcome; 2], order: [usize; 2]) -> Result<(), String> {
        let mut model = self.before.clone();
        for turn in order {
            let outcome = &outcomes[turn];
            // Who takes what is due, or purges, waits for nobody: rows that another holds are left to the next.
            let left_alone = self.which == Which::Rows
                && match outcome {
                    Outcome::Taken(first, _) => first.is_empty(),
                    Outcome::TakenByKey(_, found) => found.is_empty(),
                    _ => self.acts[turn] == Act::Purge,
                };
            if !left_alone {
                model.accept(&self.operations[turn], outcome)?;
            }
        }
        differences(record, &model).await
    }
}
