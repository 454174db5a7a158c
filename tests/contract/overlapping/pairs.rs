//! The pairs of actions: the inbox that both change or read, and the outcomes that are allowed.

use shared::error::StoreError;
use shared::ids::UserId;

use super::lock::{Running, Target};
use crate::model::{CursorSpec, Edit, Model, Operation, Outcome, clean_up, differences, perform};
use crate::record::Record;

/// What is done to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A send with a key of its own.
    Append,
    /// A send with a key of its own, and the same collapse key as an unread notification.
    Collapse,
    /// The same send each time.
    Repeat,
    Read,
    Unread,
    Delete,
    Snooze,
    /// Snoozes what is snoozed already.
    SnoozeAgain,
    /// Ends the snooze that is over beforehand.
    Unsnooze,
    ReadAll,
    Acknowledge,
    MaterialiseNext,
    /// Cancels a send that is due and still scheduled.
    Cancel,
    TakeDue,
    Take,
    MarkOffered,
    MarkResynced,
    /// Purges the tombstones that exist beforehand.
    Purge,
    Expire,
}

pub(super) const ACTIONS: [Action; 19] = [
    Action::Append,
    Action::Collapse,
    Action::Repeat,
    Action::Read,
    Action::Unread,
    Action::Delete,
    Action::Snooze,
    Action::SnoozeAgain,
    Action::Unsnooze,
    Action::ReadAll,
    Action::Acknowledge,
    Action::MaterialiseNext,
    Action::Cancel,
    Action::TakeDue,
    Action::Take,
    Action::MarkOffered,
    Action::MarkResynced,
    Action::Purge,
    Action::Expire,
];

/// The user whose inbox it is. Another user is the first recipient of sends to many.
const ALICE: usize = 1;
const FIRST_KEYS: [u8; 4] = [0, 1, 2, 3];
const SCHEDULED: u8 = 7;
/// A send with a collapse key.
const COLLAPSING: u8 = 31;
const EXPIRED_KEYS: [u8; 3] = [8, 9, 30];
/// Is snoozed, and the snooze is over.
const SNOOZED: u8 = 32;

impl Action {
    /// Whether it cannot end while `target` is locked. Taking skips locked rows; marking as offered and cancelling lock
    /// no inbox.
    fn needs(self, target: Target) -> bool {
        match self {
            Self::Append | Self::Repeat | Self::Acknowledge => target == Target::Inbox,
            Self::MaterialiseNext => target != Target::Rows,
            Self::Cancel => target == Target::Sends,
            Self::Read | Self::Unread | Self::Delete | Self::Snooze | Self::ReadAll | Self::Expire | Self::Collapse => {
                target != Target::Sends
            }
            // What arrived anew meanwhile is snoozed for the first time, and so locks the inbox too.
            Self::SnoozeAgain => target == Target::Rows,
            // A purge and the end of snoozes wait for the inbox, but the second of two finds no rows left and so does not wait.
            Self::TakeDue | Self::Take | Self::Purge | Self::Unsnooze => false,
            Self::MarkOffered | Self::MarkResynced => target == Target::Rows,
        }
    }

    fn operation(self, turn: usize, head: i64) -> Operation {
        let turn_key = u8::try_from(turn).unwrap();
        let all = || {
            FIRST_KEYS.into_iter().chain(EXPIRED_KEYS).chain([COLLAPSING, SNOOZED]).map(|key| (key, ALICE)).collect()
        };
        let change = |edit| Operation::Change { user: ALICE, edit, ids: all() };
        let snooze =
            |key| Operation::Snooze { user: ALICE, id: (key, ALICE), wait_ms: 60_000 * i64::from(turn_key + 1) };
        match self {
            Self::Append => to_alice(10 + turn_key),
            Self::Repeat => to_alice(20),
            Self::Collapse => collapsing(40 + turn_key, 0),
            Self::Read => change(Edit::Read),
            Self::Unread => change(Edit::Unread),
            Self::Delete => change(Edit::Delete),
            Self::Snooze => snooze(0),
            Self::SnoozeAgain => snooze(SNOOZED),
            Self::Unsnooze => Operation::Unsnooze { limit: usize::MAX },
            Self::ReadAll => Operation::ReadAll { user: ALICE, kind: None, before: None },
            Self::Acknowledge => {
                let offset = head - i64::try_from(turn).unwrap();
                Operation::Acknowledge { user: ALICE, cursor: CursorSpec { offset, foreign: false } }
            }
            Self::MaterialiseNext => Operation::MaterialiseNext,
            Self::Cancel => Operation::Cancel { key: SCHEDULED },
            Self::TakeDue => Operation::TakeDue { limit: usize::MAX },
            Self::Expire => Operation::Expire { limit: usize::MAX },
            Self::Take => Operation::Take { rows: vec![(ALICE, 1, 0), (ALICE, 3, 0)] },
            Self::MarkOffered => Operation::MarkOffered { rows: vec![(ALICE, 1), (ALICE, 2), (ALICE, 3)] },
            // Too long a retention for the tombstones that the other action makes.
            Self::Purge => Operation::Purge { retention_ms: 1_000 },
            Self::MarkResynced => Operation::MarkResynced { users: vec![(ALICE, 3)] },
        }
    }
}

fn to_alice(key: u8) -> Operation {
    Operation::Append { key, kind: 0, to: 1 << ALICE, others: 0, delay_ms: 0, ttl_ms: None, collapse: None }
}

fn collapsing(key: u8, delay_ms: i64) -> Operation {
    Operation::Append { key, kind: 0, to: 1 << ALICE, others: 0, delay_ms, ttl_ms: None, collapse: Some(0) }
}

/// Two actions on one inbox, and the state before them.
pub(super) struct Pair {
    actions: [Action; 2],
    target: Target,
    operations: [Operation; 2],
    before: Model,
}

impl Pair {
    /// Prepares an inbox of its own for the pair: its user is connected, and it holds unread, read, deleted, due and
    /// expired notifications. If the pair materialises, two chunks wait for the inbox.
    pub(super) async fn prepare(record: &Record, target: Target, actions: [Action; 2]) -> Self {
        let prefix = format!("{target:?} {actions:?} ");
        let mut before = Model::new(record, &prefix, &["first", "alice"]).await;
        let mut setup = vec![
            Operation::Issue { ticket: 0, user: ALICE, origin: 0, ttl_ms: 1_000, token_ms: 9_000_000 },
            Operation::Open { ticket: 0, origin: 0 },
        ];
        setup.extend(FIRST_KEYS.map(to_alice));
        setup.extend(EXPIRED_KEYS.map(|key| Operation::Append {
            key,
            kind: 0,
            to: 1 << ALICE,
            others: 0,
            delay_ms: 0,
            ttl_ms: Some(3_000),
            collapse: None,
        }));
        setup.push(collapsing(COLLAPSING, 0));
        setup.extend([to_alice(SNOOZED), Operation::Snooze { user: ALICE, id: (SNOOZED, ALICE), wait_ms: 3_000 }]);
        let set_up_change = |edit, key| Operation::Change { user: ALICE, edit, ids: vec![(key, ALICE)] };
        setup.extend([set_up_change(Edit::Read, 1), set_up_change(Edit::Delete, 3), set_up_change(Edit::Read, 8)]);
        if actions.contains(&Action::Cancel) {
            // The only chunk that an action can materialise.
            setup.push(Operation::Append {
                key: SCHEDULED,
                kind: 0,
                to: 1 << ALICE,
                others: 0,
                delay_ms: 1_000,
                ttl_ms: None,
                collapse: Some(0),
            });
        } else if actions.contains(&Action::MaterialiseNext) {
            // The 200 recipients of the first transaction are other users, so that alice waits in a chunk.
            setup.extend([5, 6].map(|key| Operation::Append {
                key,
                kind: 0,
                to: 0b11,
                others: 199,
                delay_ms: 0,
                ttl_ms: None,
                collapse: (key == 6).then_some(0),
            }));
        }
        // Past the grace period of the sends above.
        setup.push(Operation::Wait { ms: 6_000 });
        for operation in &setup {
            let outcome = perform(record, &before, operation).await.unwrap();
            before.accept(operation, &outcome).unwrap();
        }
        let head = record.position(before.user(ALICE).as_str()).await.head;
        let operations = [actions[0].operation(0, head), actions[1].operation(1, head)];
        Self { actions, target, operations, before }
    }

    /// Whether locking `target` could make one of these actions wait.
    pub(super) fn is_relevant(target: Target, actions: [Action; 2]) -> bool {
        target != Target::Sends || actions.iter().any(|action| action.needs(target))
    }

    /// The user whose inbox it is.
    pub(super) fn user(&self) -> &UserId {
        self.before.user(ALICE)
    }

    pub(super) fn begin(&self, record: &Record, turn: usize) -> Running {
        let (record, before, operation) = (record.clone(), self.before.clone(), self.operations[turn].clone());
        Running::new(async move { perform(&record, &before, &operation).await })
    }

    /// Asserts that every action that needs the locked target is still running.
    pub(super) fn assert_overlap(&self, running: [&Running; 2]) {
        for (action, running) in self.actions.iter().zip(running) {
            // A chunk whose send is cancelled, or about to be, is not materialised.
            let finds_nothing =
                self.actions == [Action::Cancel, Action::MaterialiseNext] && *action == Action::MaterialiseNext;
            assert!(
                finds_nothing || !(action.needs(self.target) && running.has_ended()),
                "{:?} locked: {action:?} did not wait",
                self.target
            );
        }
    }

    /// Asserts that the answers and the inbox are those of one of the two serial orders. Then cleans up.
    pub(super) async fn assert_serialisable(self, record: &Record, outcomes: [Result<Outcome, StoreError>; 2]) {
        let outcomes = outcomes.map(|outcome| outcome.unwrap_or_else(|error| panic!("{:?}: {error}", self.actions)));
        let mut reasons = Vec::new();
        for order in [[0, 1], [1, 0]] {
            match self.matches_order(record, &outcomes, order).await {
                Ok(()) => break,
                Err(why) => {
                    reasons.push(format!("not {:?} before {:?}: {why}", self.actions[order[0]], self.actions[order[1]]))
                }
            }
        }
        assert!(reasons.len() < 2, "{:?} locked: {}\n{outcomes:#?}", self.target, reasons.join("\n"));
        clean_up(record, &self.before).await.unwrap();
    }

    async fn matches_order(&self, record: &Record, outcomes: &[Outcome; 2], order: [usize; 2]) -> Result<(), String> {
        let mut model = self.before.clone();
        for turn in order {
            let outcome = &outcomes[turn];
            // Taking, purging and the end of snoozes skip locked rows, which are left to the next run.
            let skipped_all = self.target == Target::Rows
                && match outcome {
                    Outcome::Taken(first, _) => first.is_empty(),
                    Outcome::TakenByKey(_, found) => found.is_empty(),
                    Outcome::Unsnoozed(unsnoozed) => unsnoozed.snoozes == 0,
                    _ => self.actions[turn] == Action::Purge,
                };
            if !skipped_all {
                model.accept(&self.operations[turn], outcome)?;
            }
        }
        differences(record, &model).await
    }
}
