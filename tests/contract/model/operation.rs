//! What can be done to a record, as chance puts it together, and doing it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use shared::clock::At;
use shared::connections::{Connection, Extended, Opened, Opening};
use shared::error::StoreError;
use shared::ids::ConnectionId;
use shared::inbox::{Append, Appended, Changed, Changes, Delivery, FirstAnswer, Listed};
use shared::notification::Notification;

use super::Model;
use crate::record::{Record, user};

/// How many users there are who are looked at.
pub(super) const USERS: usize = 4;
/// How many keys sends have: few enough that they are repeated.
const KEYS: u8 = 10;
const KINDS: u8 = 3;

/// One call of a promise. Users, keys, tickets and connections are numbers, so that what fails reads short.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `to` has a bit for each user; so many others stand after the first of them.
    Append {
        key: u8,
        kind: u8,
        to: u8,
        others: usize,
    },
    /// Each id is that of a key in the inbox of a user, which need not be this one nor ever have arrived.
    Change {
        user: usize,
        what: What,
        ids: Vec<(u8, usize)>,
    },
    ReadAll {
        user: usize,
        kind: Option<u8>,
        before: Option<Spot>,
    },
    Acknowledge {
        user: usize,
        cursor: Spot,
    },
    FirstAnswer {
        key: u8,
    },
    List {
        user: usize,
        before: Option<i64>,
        limit: usize,
        kind: Option<u8>,
        unread: bool,
    },
    Changes {
        user: usize,
        since: Option<Spot>,
        limit: usize,
    },
    Find {
        user: usize,
        id: (u8, usize),
    },
    MaterialiseNext,
    TakeDue {
        limit: usize,
    },
    MarkOffered {
        rows: Vec<(usize, i64)>,
    },
    Issue {
        ticket: u8,
        user: usize,
        origin: u8,
        lives_ms: i64,
        token_ms: i64,
    },
    /// Opens the next connection: the first is 0.
    Open {
        ticket: u8,
        origin: u8,
    },
    /// Opens many in a row, more than a user may have.
    Crowd {
        user: usize,
    },
    Extend {
        connection: usize,
        ticket: u8,
    },
    FindConnection {
        connection: usize,
    },
    Forget {
        connections: Vec<usize>,
    },
    Sweep,
    Wait {
        ms: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Read,
    Unread,
    Delete,
}

/// A cursor of this record, or of another's history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) offset: i64,
    pub(crate) foreign: bool,
}

/// What a record answered.
#[derive(Debug)]
pub(crate) enum Outcome {
    Appended(Appended),
    Changed(Option<Changed>),
    Acknowledged(bool),
    FirstAnswer(Option<FirstAnswer>),
    Listed(Listed),
    Changes(Option<Changes>),
    Found(Option<Notification>),
    /// With the place of the chunk among those that waited.
    Materialised(Option<(usize, Vec<Delivery>)>),
    /// And what was left, where chance could not be told from what was forgotten.
    Taken(Vec<Delivery>, Option<Vec<Delivery>>),
    Opened(Vec<Opened>),
    Extended(Extended),
    Connection(Option<Connection>),
    Ended(Vec<Connection>),
    Done,
}

pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..50)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => append(Just(0)),
        1 => append(198_usize..=420),
        7 => changing(),
        6 => reading(),
        8 => delivering(),
        6 => connecting(),
        4 => prop::sample::select(vec![1, 999, 5_000, 60_000, 300_000, 10_800_000]).prop_map(|ms| Operation::Wait { ms }),
    ]
}

fn append(others: impl Strategy<Value = usize>) -> impl Strategy<Value = Operation> {
    (0..KEYS, 0..KINDS, 1_u8..1 << USERS, others).prop_map(|(key, kind, to, others)| Operation::Append {
        key,
        kind,
        to,
        others,
    })
}

fn changing() -> impl Strategy<Value = Operation> {
    let what = prop_oneof![4 => Just(What::Read), 3 => Just(What::Unread), 2 => Just(What::Delete)];
    prop_oneof![
        4 => (0..USERS, what, vec(id(), 0..6)).prop_map(|(user, what, mut ids)| {
            // Mostly his own: what is somebody else's is skipped.
            for (n, (_, of)) in ids.iter_mut().enumerate() {
                if n % 3 != 2 {
                    *of = user;
                }
            }
            Operation::Change { user, what, ids }
        }),
        1 => (0..USERS, kind(), prop::option::of(spot()))
            .prop_map(|(user, kind, before)| Operation::ReadAll { user, kind, before }),
        1 => (0..USERS, spot()).prop_map(|(user, cursor)| Operation::Acknowledge { user, cursor }),
    ]
}

fn reading() -> impl Strategy<Value = Operation> {
    let limit = || prop_oneof![3 => 0..5_usize, 1 => Just(usize::MAX)];
    prop_oneof![
        2 => (0..USERS, prop::option::of(0..16_i64), limit(), kind(), any::<bool>())
            .prop_map(|(user, before, limit, kind, unread)| Operation::List { user, before, limit, kind, unread }),
        2 => (0..USERS, prop::option::of(spot()), limit())
            .prop_map(|(user, since, limit)| Operation::Changes { user, since, limit }),
        1 => (0..USERS, id()).prop_map(|(user, id)| Operation::Find { user, id }),
        1 => (0..KEYS).prop_map(|key| Operation::FirstAnswer { key }),
    ]
}

fn delivering() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => Just(Operation::MaterialiseNext),
        3 => prop_oneof![1..4_usize, Just(usize::MAX)].prop_map(|limit| Operation::TakeDue { limit }),
        2 => vec((0..USERS, 1..12_i64), 0..5).prop_map(|rows| Operation::MarkOffered { rows }),
    ]
}

fn connecting() -> impl Strategy<Value = Operation> {
    let lives_ms = prop::sample::select(vec![9_000_000, 60_000, 500]);
    let token_ms = prop::sample::select(vec![9_000_000, 60_000, 3_000]);
    let (ticket, connection) = (|| 0..3_u8, || 0..24_usize);
    // Mostly of one origin, or few would fit.
    let origin = || prop_oneof![5 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    prop_oneof![
        6 => (ticket(), 0..USERS, origin(), lives_ms, token_ms).prop_map(
            |(ticket, user, origin, lives_ms, token_ms)| Operation::Issue { ticket, user, origin, lives_ms, token_ms }
        ),
        6 => (ticket(), origin()).prop_map(|(ticket, origin)| Operation::Open { ticket, origin }),
        1 => (0..USERS).prop_map(|user| Operation::Crowd { user }),
        2 => (0..6_usize, ticket()).prop_map(|(connection, ticket)| Operation::Extend { connection, ticket }),
        1 => connection().prop_map(|connection| Operation::FindConnection { connection }),
        2 => vec(connection(), 0..4).prop_map(|connections| Operation::Forget { connections }),
        2 => Just(Operation::Sweep),
    ]
}

fn id() -> impl Strategy<Value = (u8, usize)> {
    (0..KEYS, 0..USERS)
}

fn kind() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(0..KINDS)
}

fn spot() -> impl Strategy<Value = Spot> {
    (0..16_i64, prop::bool::weighted(0.1)).prop_map(|(offset, foreign)| Spot { offset, foreign })
}

/// The origin of that number; the first is none.
pub(super) fn origin(number: u8) -> Option<String> {
    (number > 0).then(|| format!("https://{number}.example.com"))
}

/// Does it, at the time of the model. Waiting is the model's matter.
pub(crate) async fn perform(record: &Record, model: &Model, operation: &Operation) -> Result<Outcome, StoreError> {
    let (inbox, deliveries, connections) = (record.inbox(), record.deliveries(), record.connections());
    let at = At::Fixed(model.now_ms());
    Ok(match operation {
        Operation::Append { key, kind, to, others } => {
            let send = model.send(*key, *kind, *to, *others);
            let append = Append {
                id: send.id,
                sender: &user("billing"),
                fingerprint: send.fingerprint,
                content: Arc::clone(&send.content),
                recipients: &model.recipients(*to, *others),
                answer: &send.answer,
                retention_ms: i64::MAX / 4,
            };
            Outcome::Appended(inbox.append(&append, at).await?)
        }
        Operation::Change { user, .. } | Operation::ReadAll { user, .. } => {
            let change = model.change(operation);
            Outcome::Changed(inbox.change(model.user(*user), &change, at).await?)
        }
        Operation::Acknowledge { user, cursor } => {
            Outcome::Acknowledged(inbox.acknowledge(model.user(*user), model.cursor(*cursor), at).await?)
        }
        Operation::FirstAnswer { key } => {
            let id = model.send(*key, 0, 0, 0).id;
            Outcome::FirstAnswer(inbox.first_answer(id).await?)
        }
        Operation::List { user, .. } => {
            Outcome::Listed(inbox.list(model.user(*user), &model.page(operation), at).await?)
        }
        Operation::Changes { user, since, limit } => {
            let since = since.map(|since| model.cursor(since));
            Outcome::Changes(inbox.changes(model.user(*user), since, *limit, at).await?)
        }
        Operation::Find { user, id } => Outcome::Found(inbox.find(model.user(*user), model.id(*id), at).await?),
        Operation::MaterialiseNext => Outcome::Materialised(match deliveries.materialise_next(at).await? {
            None => None,
            Some(deliveries) => Some((which_chunk(record, model).await?, deliveries)),
        }),
        Operation::TakeDue { limit } => {
            let first = deliveries.take_due(*limit, at).await?;
            let rest =
                if model.leaves_a_choice(*limit) { Some(deliveries.take_due(usize::MAX, at).await?) } else { None };
            Outcome::Taken(first, rest)
        }
        Operation::MarkOffered { rows } => {
            let rows: Vec<_> = rows.iter().map(|(user, offset)| (model.user(*user), *offset)).collect();
            deliveries.mark_offered(&rows, at).await?;
            Outcome::Done
        }
        Operation::Issue { .. } => {
            if let Some(ticket) = model.ticket(operation) {
                connections.issue(&ticket, at).await?;
            }
            Outcome::Done
        }
        Operation::Open { ticket, origin } => {
            let (connection, origin) = (model.next_connection(0), self::origin(*origin));
            let ticket_hash = model.ticket_hash(*ticket);
            let opening = Opening { connection: &connection, ticket_hash, origin: origin.as_deref() };
            Outcome::Opened(vec![connections.open(&opening, at).await?])
        }
        Operation::Crowd { .. } => {
            let mut opened = Vec::new();
            for (n, ticket) in model.crowd(operation).into_iter().enumerate() {
                let at = At::Fixed(model.now_ms() + i64::try_from(n).unwrap_or_default());
                connections.issue(&ticket, at).await?;
                let connection = model.next_connection(n);
                let opening = Opening { connection: &connection, ticket_hash: ticket.hash, origin: None };
                opened.push(connections.open(&opening, at).await?);
            }
            Outcome::Opened(opened)
        }
        Operation::Extend { connection, ticket } => {
            let connection = model.connection(*connection);
            Outcome::Extended(connections.extend(&connection, &model.ticket_hash(*ticket), at).await?)
        }
        Operation::FindConnection { connection } => {
            Outcome::Connection(connections.find(&model.connection(*connection)).await?)
        }
        Operation::Forget { connections: gone } => {
            let gone: Vec<ConnectionId> = gone.iter().map(|number| model.connection(*number)).collect();
            connections.forget(&gone).await?;
            Outcome::Done
        }
        Operation::Sweep => Outcome::Ended(connections.sweep(at).await?),
        Operation::Wait { .. } => Outcome::Done,
    })
}

/// Of the chunks that were due, the one whose recipients have their rows now: which comes first is the record's matter.
async fn which_chunk(record: &Record, model: &Model) -> Result<usize, StoreError> {
    let candidates = model.due_chunks();
    let Some((last, others)) = candidates.split_last() else { return Ok(usize::MAX) };
    for (place, user, id) in others {
        if record.inbox().find(user, *id, At::Fixed(model.now_ms())).await?.is_some() {
            return Ok(*place);
        }
    }
    Ok(last.0)
}
