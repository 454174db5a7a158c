//! The expected contents of a record, in plain maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::clock::Time;
use shared::cursor::{Cursor, Epoch};
use shared::ids::{ConnectionId, NotificationId, SendId, UserId, sha256};
use shared::inbox::bounds::Bounds;
use shared::inbox::notification::{Content, Notification};
use shared::inbox::sends::FirstAnswer;
use shared::inbox::{Change, Page};
use shared::sockets::connections::{Connection, Ticket};

use super::operation::{self, CursorSpec, Edit, Operation};
use crate::record::{Record, START_MS, Send, user};

/// A record as its promises describe it. Users, keys, tickets and connections are identified by numbers.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(super) epoch: Epoch,
    now_ms: i64,
    /// Prepended to every key and connection, so that several models can share a record.
    prefix: String,
    pub(super) users: Vec<UserId>,
    pub(super) sends: BTreeMap<SendId, FirstAnswer>,
    /// Sends that have not started.
    pub(super) scheduled: BTreeSet<SendId>,
    pub(super) cancelled: BTreeSet<SendId>,
    /// Recipients without rows.
    pub(super) chunks: Vec<Chunk>,
    pub(super) inboxes: BTreeMap<UserId, Inbox>,
    pub(super) tickets: BTreeMap<[u8; 32], Ticket>,
    /// In the order in which they were opened.
    pub(super) connections: Vec<Open>,
    /// How many openings were attempted.
    pub(super) openings: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) send: SendId,
    pub(super) content: Arc<Content>,
    pub(super) recipients: Vec<UserId>,
    pub(super) due_ms: i64,
    pub(super) accepted_ms: i64,
}

/// One inbox, with its rows by the offset of their arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    pub(super) head: i64,
    pub(super) acked: i64,
    pub(super) purged_through: i64,
    pub(super) rows: BTreeMap<i64, Row>,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: NotificationId,
    pub(super) content: Arc<Content>,
    pub(super) version: i64,
    /// When its send was due and when it was accepted: the greater pair is the newer notification.
    pub(super) newness: (i64, i64),
    pub(super) created_at_ms: i64,
    /// When it arrived last.
    pub(super) arrived_at_ms: i64,
    pub(super) read_at_ms: Option<i64>,
    pub(super) is_deleted: bool,
    /// When it became a tombstone.
    pub(super) deleted_at_ms: i64,
    /// When the tombstone arrives anew.
    pub(super) snoozed_until_ms: Option<i64>,
    pub(super) push_at_ms: Option<i64>,
    pub(super) times_taken: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) origin: Option<String>,
}

impl Chunk {
    /// The notification of its first recipient, which identifies the chunk.
    pub(super) fn first(&self) -> NotificationId {
        NotificationId::of(self.send, &self.recipients[0])
    }

    pub(super) fn has_expired(&self, now_ms: i64) -> bool {
        has_expired(&self.content, now_ms)
    }
}

impl Inbox {
    pub(super) fn unread(&self, now_ms: i64) -> i64 {
        let unread = self.present(now_ms).filter(|(_, row)| row.read_at_ms.is_none());
        i64::try_from(unread.count()).unwrap()
    }

    /// The offsets that an arrival with this key replaces; `None` if it is late because a newer one arrived before it.
    pub(super) fn replaced(&self, key: Option<&String>, newness: (i64, i64), now_ms: i64) -> Option<Vec<i64>> {
        let Some(key) = key else { return Some(Vec::new()) };
        let of_key = |row: &&Row| row.content.collapse_key.as_ref() == Some(key);
        if self.rows.values().filter(of_key).any(|row| row.newness > newness) {
            return None;
        }
        let unread = self.present(now_ms).filter(|(_, row)| of_key(row) && row.read_at_ms.is_none());
        Some(unread.map(|(offset, _)| offset).collect())
    }

    pub(super) fn present(&self, now_ms: i64) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        self.rows.iter().filter(move |(_, row)| !row.is_gone(now_ms)).map(|(offset, row)| (*offset, row))
    }

    /// What has expired but is not a tombstone yet.
    pub(super) fn expired(&self, now_ms: i64) -> impl Iterator<Item = (i64, &Row)> {
        let expired = self.rows.iter().filter(move |(_, row)| !row.is_deleted && row.is_gone(now_ms));
        expired.map(|(offset, row)| (*offset, row))
    }
}

fn has_expired(content: &Content, now_ms: i64) -> bool {
    content.expires_at.is_some_and(|end| end.0 <= now_ms)
}

impl Row {
    /// Whether it was deleted or has expired.
    pub(super) fn is_gone(&self, now_ms: i64) -> bool {
        self.is_deleted || has_expired(&self.content, now_ms)
    }

    /// Whether its time has passed, be it a tombstone or not.
    pub(super) fn has_expired(&self, now_ms: i64) -> bool {
        has_expired(&self.content, now_ms)
    }

    /// When it expires, unless it is a tombstone.
    pub(super) fn expires_ms(&self) -> Option<i64> {
        self.content.expires_at.filter(|_| !self.is_deleted).map(|end| end.0)
    }

    pub(super) fn notification(&self, cursor: Cursor) -> Notification {
        Notification {
            id: self.id,
            content: Arc::clone(&self.content),
            cursor,
            created_at: Time(self.created_at_ms),
            read_at: self.read_at_ms.map(Time),
            silent: false,
        }
    }
}

impl Model {
    /// An empty model. The record may hold data of other models, which have other prefixes.
    pub(crate) async fn new(record: &Record, prefix: &str, users: &[&str]) -> Self {
        Self {
            epoch: record.position("nobody").await.epoch,
            now_ms: START_MS,
            prefix: prefix.into(),
            users: users.iter().map(|name| user(&format!("{prefix}{name}"))).collect(),
            sends: BTreeMap::new(),
            scheduled: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            chunks: Vec::new(),
            inboxes: BTreeMap::new(),
            tickets: BTreeMap::new(),
            connections: Vec::new(),
            openings: 0,
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    pub(crate) fn user(&self, number: usize) -> &UserId {
        &self.users[number]
    }

    pub(super) fn inbox(&self, user: &UserId) -> Inbox {
        self.inboxes.get(user).cloned().unwrap_or_default()
    }

    pub(super) fn cursor(&self, cursor: CursorSpec) -> Cursor {
        let epoch = if cursor.foreign { Epoch(self.epoch.0 ^ 1) } else { self.epoch };
        Cursor { epoch, offset: cursor.offset }
    }

    /// Whether a cursor is in an inbox's history.
    pub(super) fn knows(&self, inbox: &Inbox, cursor: CursorSpec) -> bool {
        !cursor.foreign && (inbox.purged_through..=inbox.head).contains(&cursor.offset)
    }

    /// Removes tombstones that are this old.
    pub(super) fn purge(&mut self, retention_ms: i64) {
        let until_ms = self.now_ms - retention_ms;
        for inbox in self.inboxes.values_mut() {
            let is_old = |row: &Row| row.is_deleted && row.snoozed_until_ms.is_none() && row.deleted_at_ms <= until_ms;
            let gone = inbox.rows.extract_if(.., |_, row| is_old(row));
            let through = gone.map(|(_, row)| row.version).max().unwrap_or(0);
            inbox.purged_through = inbox.purged_through.max(through);
        }
    }

    /// The send with that key, as it would be made for the first time.
    pub(super) fn send(&self, key: u8, kind: u8, to: u8, others: usize) -> Send {
        let asked = format!("{kind} {to} {others}");
        let send = Send::of_kind(&format!("{}{key}", self.prefix), &kind_name(kind));
        Send { fingerprint: sha256(asked.as_bytes()), answer: format!("{{\"asked\": \"{asked}\"}}"), ..send }
    }

    /// The same send with an expiry, relative to its due time, and a collapse key.
    pub(super) fn with_expiry_and_collapse(
        &self,
        send: Send,
        delay_ms: i64,
        ttl_ms: Option<i64>,
        collapse: Option<u8>,
    ) -> Send {
        let expires_at = ttl_ms.map(|ttl_ms| Time(self.now_ms + delay_ms + ttl_ms));
        let collapse_key = collapse.map(|number| format!("collapse {number}"));
        Send { content: Arc::new(Content { expires_at, collapse_key, ..Content::clone(&send.content) }), ..send }
    }

    /// The first of the users whose bits are set, then `others` users without numbers, then the remaining users.
    pub(super) fn recipients(&self, to: u8, others: usize) -> Vec<UserId> {
        let set = |n: &usize| to >> *n & 1 == 1;
        let mut recipients: Vec<UserId> = (0..self.users.len()).filter(set).map(|n| self.users[n].clone()).collect();
        recipients.splice(1..1, self.others(others));
        recipients
    }

    /// Users without numbers.
    pub(super) fn others(&self, count: usize) -> impl Iterator<Item = UserId> {
        (0..count).map(|n| user(&format!("{}other {n}", self.prefix)))
    }

    pub(super) fn id(&self, (key, user): (u8, usize)) -> NotificationId {
        NotificationId::of(self.send(key, 0, 0, 0).id, self.user(user))
    }

    pub(super) fn change(&self, operation: &Operation) -> Change {
        match operation {
            Operation::Change { edit, ids, .. } => {
                let ids = ids.iter().map(|id| self.id(*id)).collect();
                match edit {
                    Edit::Read => Change::Read(ids),
                    Edit::Unread => Change::Unread(ids),
                    Edit::Delete => Change::Delete(ids),
                }
            }
            Operation::ReadAll { kind, before, .. } => {
                Change::ReadAll { kind: kind.map(kind_name), before: before.map(|before| self.cursor(before)) }
            }
            other => unreachable!("{other:?} is not a change"),
        }
    }

    pub(super) fn page(&self, operation: &Operation) -> Page {
        let Operation::List { before, limit, kind, unread, .. } = operation else {
            unreachable!("{operation:?} is not a list")
        };
        Page { before: *before, bounds: Bounds::items(*limit), kind: kind.map(kind_name), unread: *unread }
    }

    /// The first recipients of the due chunks, and their notifications.
    pub(super) fn due_chunks(&self) -> Vec<(&UserId, NotificationId)> {
        let due = self.chunks.iter().filter(|chunk| chunk.due_ms <= self.now_ms);
        due.map(|chunk| (&chunk.recipients[0], chunk.first())).collect()
    }

    /// The due chunk that a record materialises first if nothing runs concurrently.
    pub(super) fn first_due_chunk(&self) -> Option<&Chunk> {
        let due = self.chunks.iter().filter(|chunk| chunk.due_ms <= self.now_ms);
        // The first of equal ones.
        due.min_by_key(|chunk| (chunk.due_ms, chunk.send))
    }

    /// What has expired but is not a tombstone yet, in the order in which it becomes one.
    pub(super) fn expired_rows(&self) -> Vec<(i64, UserId, i64)> {
        let rows = self.inboxes.iter().flat_map(|(user, inbox)| {
            let expired = inbox.expired(self.now_ms);
            expired.filter_map(|(offset, row)| Some((row.expires_ms()?, user.clone(), offset)))
        });
        let mut expired: Vec<_> = rows.collect();
        expired.sort();
        expired
    }

    /// The rows whose push is due: when it fell due, the user and the offset.
    pub(super) fn due_rows(&self) -> Vec<(i64, UserId, i64)> {
        let rows = self.inboxes.iter().flat_map(|(user, inbox)| {
            inbox.rows.iter().filter_map(|(offset, row)| Some((row.push_at_ms?, user.clone(), *offset)))
        });
        let mut due: Vec<_> = rows.filter(|(push_at_ms, ..)| *push_at_ms <= self.now_ms).collect();
        due.sort();
        due
    }

    /// Whether a take with this limit gets only some of several rows that fell due at the same time, and some of those need
    /// no push. The answer does not show which of these the take examined and cleared.
    pub(super) fn is_ambiguous(&self, limit: usize) -> bool {
        let due = self.due_rows();
        due.len() > limit && {
            let last_ms = due[limit - 1].0;
            due.iter().any(|(push_at_ms, user, offset)| {
                let goes_nowhere =
                    self.valid_connections(user).is_empty() || self.inboxes[user].rows[offset].is_gone(self.now_ms);
                *push_at_ms == last_ms && goes_nowhere
            })
        }
    }

    /// The connections of a user whose token has not ended, sorted by id.
    pub(super) fn valid_connections(&self, user: &UserId) -> Vec<Connection> {
        let of_user = self.connections.iter().map(|open| &open.connection).filter(|open| open.user == *user);
        let mut valid_connections: Vec<_> =
            of_user.filter(|open| open.token_expires_at_ms > self.now_ms).cloned().collect();
        valid_connections.sort_by(|one, other| one.id.cmp(&other.id));
        valid_connections
    }

    pub(crate) fn connection(&self, number: usize) -> ConnectionId {
        ConnectionId::new(format!("{}connection {number}", self.prefix))
    }

    /// The connection that is opened after `further` others.
    pub(super) fn next_connection(&self, further: usize) -> ConnectionId {
        self.connection(self.openings + further)
    }

    pub(super) fn ticket_hash(&self, number: u8) -> [u8; 32] {
        sha256(format!("{}ticket {number}", self.prefix).as_bytes())
    }

    /// The ticket to be issued; `None` if its number is in use.
    pub(super) fn ticket(&self, operation: &Operation) -> Option<Ticket> {
        let Operation::Issue { ticket, user, origin, ttl_ms, token_ms } = operation else {
            unreachable!("{operation:?} does not issue a ticket")
        };
        let hash = self.ticket_hash(*ticket);
        (!self.tickets.contains_key(&hash)).then(|| Ticket {
            hash,
            user: self.user(*user).clone(),
            origin: operation::origin(*origin),
            token_issued_at_s: None,
            token_expires_at_ms: self.now_ms + token_ms,
            expires_at_ms: self.now_ms + ttl_ms,
        })
    }

    /// The tickets with which a user connects.
    pub(super) fn connecting(&self, operation: &Operation) -> Vec<Ticket> {
        let Operation::Connect { user, times, token_ms } = operation else {
            unreachable!("{operation:?} does not connect")
        };
        let ticket = |n| Ticket {
            hash: sha256(format!("{}ticket of opening {}", self.prefix, self.openings + n).as_bytes()),
            user: self.user(*user).clone(),
            origin: None,
            token_issued_at_s: None,
            token_expires_at_ms: self.now_ms + token_ms,
            expires_at_ms: self.now_ms + 30_000,
        };
        (0..*times).map(ticket).collect()
    }
}

fn kind_name(kind: u8) -> String {
    format!("kind-{kind}")
}
