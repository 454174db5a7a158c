//! The operations on a record, and how they are generated.

use proptest::collection::vec;
use proptest::prelude::*;
use shared::sockets::connections::MAX_CONNECTIONS;

/// How many users have numbers.
pub(super) const USERS: usize = 4;
/// How many idempotency keys there are: few enough that sends are repeated.
const KEYS: u8 = 12;
const KINDS: u8 = 3;

/// One call of a promise. Users, keys, tickets and connections are numbers, so that a failing list is easy to read.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `to` has a bit for each user; `others` users without numbers follow the first of them. The send is due at once if
    /// `delay_ms` is 0, expires `ttl_ms` after it is due, and replaces older ones with its collapse key.
    Append {
        key: u8,
        kind: u8,
        to: u8,
        others: usize,
        delay_ms: i64,
        ttl_ms: Option<i64>,
        collapse: Option<u8>,
    },
    Cancel {
        key: u8,
    },
    /// Each id is a key and a user; it may belong to another user, and may never have arrived.
    Change {
        user: usize,
        edit: Edit,
        ids: Vec<(u8, usize)>,
    },
    /// Until `wait_ms` from now, which may be in the past.
    Snooze {
        user: usize,
        id: (u8, usize),
        wait_ms: i64,
    },
    ReadAll {
        user: usize,
        kind: Option<u8>,
        before: Option<CursorSpec>,
    },
    Acknowledge {
        user: usize,
        cursor: CursorSpec,
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
        since: Option<CursorSpec>,
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
    Unsnooze {
        limit: usize,
    },
    Expire {
        limit: usize,
    },
    /// Rows by user and offset, and by how many milliseconds the fence is off.
    Take {
        rows: Vec<(usize, i64, i64)>,
    },
    MarkOffered {
        rows: Vec<(usize, i64)>,
    },
    MarkResynced {
        users: Vec<(usize, i64)>,
    },
    Purge {
        retention_ms: i64,
    },
    Issue {
        ticket: u8,
        user: usize,
        origin: u8,
        ttl_ms: i64,
        token_ms: i64,
    },
    /// Opens the next connection, counted from 0.
    Open {
        ticket: u8,
        origin: u8,
    },
    /// Issues this many tickets and opens a connection with each, one after the other.
    Connect {
        user: usize,
        times: usize,
        token_ms: i64,
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
pub(crate) enum Edit {
    Read,
    Unread,
    Delete,
}

/// A cursor of this record's epoch, or of a foreign one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CursorSpec {
    pub(crate) offset: i64,
    pub(crate) foreign: bool,
}

pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..80)
}

fn operation() -> impl Strategy<Value = Operation> {
    let ms = prop::sample::select(vec![1, 999, 5_000, 10_000, 60_000, 300_000, 10_800_000]);
    prop_oneof![
        9 => append(Just(0)),
        1 => append(198_usize..=420),
        9 => changing(),
        5 => reading(),
        8 => delivering(),
        7 => connecting(),
        3 => ms.prop_map(|ms| Operation::Wait { ms }),
    ]
}

fn append(others: impl Strategy<Value = usize>) -> impl Strategy<Value = Operation> {
    let delay_ms = prop_oneof![3 => Just(0_i64), 1 => prop::sample::select(vec![1, 999, 60_000, 300_000])];
    let ttl_ms = prop_oneof![3 => Just(None), 2 => prop::sample::select(vec![1, 5, 999, 60_000]).prop_map(Some)];
    let collapse = prop_oneof![3 => Just(None), 3 => (0..2_u8).prop_map(Some)];
    (key(), 0..KINDS, 1_u8..1 << USERS, others, delay_ms, ttl_ms, collapse).prop_map(
        |(key, kind, to, others, delay_ms, ttl_ms, collapse)| Operation::Append {
            key,
            kind,
            to,
            others,
            delay_ms,
            ttl_ms,
            collapse,
        },
    )
}

fn changing() -> impl Strategy<Value = Operation> {
    let edit = prop_oneof![4 => Just(Edit::Read), 3 => Just(Edit::Unread), 2 => Just(Edit::Delete)];
    prop_oneof![
        4 => (user(), edit, vec(id(), 1..6)).prop_map(|(user, edit, mut ids)| {
            // Mostly the user's own ids, since those of other users are skipped.
            for (n, (_, of)) in ids.iter_mut().enumerate() {
                if n % 4 != 3 {
                    *of = user;
                }
            }
            Operation::Change { user, edit, ids }
        }),
        3 => (user(), id(), prop::sample::select(vec![-1, 0, 999, 5_000, 60_000]), prop::bool::weighted(0.9)).prop_map(
            |(user, (key, of), wait_ms, is_own)| {
                Operation::Snooze { user, id: (key, if is_own { user } else { of }), wait_ms }
            }
        ),
        1 => (user(), kind(), prop::option::of(cursor()))
            .prop_map(|(user, kind, before)| Operation::ReadAll { user, kind, before }),
        3 => (user(), cursor()).prop_map(|(user, cursor)| Operation::Acknowledge { user, cursor }),
    ]
}

fn reading() -> impl Strategy<Value = Operation> {
    let limit = || prop_oneof![3 => 0..5_usize, 1 => Just(usize::MAX)];
    prop_oneof![
        2 => (user(), prop::option::of(0..16_i64), limit(), kind(), any::<bool>())
            .prop_map(|(user, before, limit, kind, unread)| Operation::List { user, before, limit, kind, unread }),
        2 => (user(), prop::option::of(cursor()), limit())
            .prop_map(|(user, since, limit)| Operation::Changes { user, since, limit }),
        1 => (user(), id()).prop_map(|(user, id)| Operation::Find { user, id }),
        1 => key().prop_map(|key| Operation::FirstAnswer { key }),
    ]
}

fn delivering() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => Just(Operation::MaterialiseNext),
        2 => key().prop_map(|key| Operation::Cancel { key }),
        4 => prop_oneof![1..4_usize, Just(usize::MAX)].prop_map(|limit| Operation::TakeDue { limit }),
        2 => prop_oneof![1..4_usize, Just(usize::MAX)].prop_map(|limit| Operation::Expire { limit }),
        3 => prop_oneof![1..4_usize, Just(usize::MAX)].prop_map(|limit| Operation::Unsnooze { limit }),
        3 => vec((user(), 1..8_i64, prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)]), 0..8)
            .prop_map(|rows| Operation::Take { rows }),
        2 => vec((user(), 1..8_i64), 0..5).prop_map(|rows| Operation::MarkOffered { rows }),
        1 => vec((user(), 0..8_i64), 0..3).prop_map(|users| Operation::MarkResynced { users }),
        1 => prop::sample::select(vec![0, 2_000, 60_000]).prop_map(|retention_ms| Operation::Purge { retention_ms }),
    ]
}

fn connecting() -> impl Strategy<Value = Operation> {
    let ttl_ms = prop::sample::select(vec![9_000_000, 60_000, 500]);
    let token_ms = || prop::sample::select(vec![9_000_000, 9_000_000, 60_000, 3_000]);
    let times = prop_oneof![20 => 1..3_usize, 1 => Just(MAX_CONNECTIONS + 1)];
    let (ticket, connection) = (|| 0..3_u8, || 0..24_usize);
    // Mostly one origin, or few would match.
    let origin = || prop_oneof![5 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    prop_oneof![
        6 => (user(), times, token_ms())
            .prop_map(|(user, times, token_ms)| Operation::Connect { user, times, token_ms }),
        4 => (ticket(), user(), origin(), ttl_ms, token_ms()).prop_map(
            |(ticket, user, origin, ttl_ms, token_ms)| Operation::Issue { ticket, user, origin, ttl_ms, token_ms }
        ),
        3 => (ticket(), origin()).prop_map(|(ticket, origin)| Operation::Open { ticket, origin }),
        3 => (0..8_usize, ticket()).prop_map(|(connection, ticket)| Operation::Extend { connection, ticket }),
        1 => connection().prop_map(|connection| Operation::FindConnection { connection }),
        2 => vec(connection(), 0..4).prop_map(|connections| Operation::Forget { connections }),
        2 => Just(Operation::Sweep),
    ]
}

/// Some users more often than others, so that much happens to them.
fn user() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0), 3 => Just(1), 1 => 2..USERS]
}

fn key() -> impl Strategy<Value = u8> {
    0..KEYS
}

fn id() -> impl Strategy<Value = (u8, usize)> {
    (key(), user())
}

fn kind() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(0..KINDS)
}

/// Mostly a cursor that is not ahead of the inbox.
fn cursor() -> impl Strategy<Value = CursorSpec> {
    let offset = prop_oneof![3 => 0..6_i64, 2 => 0..24_i64];
    (offset, prop::bool::weighted(0.1)).prop_map(|(offset, foreign)| CursorSpec { offset, foreign })
}

/// The origin with that number; 0 is none.
pub(super) fn origin(number: u8) -> Option<String> {
    (number > 0).then(|| format!("https://{number}.example.com"))
}
