//! What each answer must be, and how it changes the model. If a promise leaves an order open, the model follows the
//! store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use shared::delivery::{Delivery, PUSH_GRACE_MS};
use shared::ids::{ConnectionId, NotificationId, SendId, UserId};
use shared::inbox::notification::{Content, Notification};
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS, Cancelled, FirstAnswer, Stored};
use shared::inbox::{Change, Changed, Changes, CurrentState, Listed, Position};
use shared::sockets::connections::Connection;

use super::operation::{self, CursorSpec, Edit, Operation};
use super::perform::Outcome;
use super::sockets::sorted_by_id;
use super::state::{Chunk, Inbox, Model, Row};
use crate::record::Send;

pub(super) type Accepted = Result<(), String>;

/// Fails with the expected and the actual value if they differ.
pub(super) fn agree<T: PartialEq + Debug>(subject: &str, found: T, expected: T) -> Accepted {
    if found == expected { Ok(()) } else { Err(format!("{subject}: found {found:?}, expected {expected:?}")) }
}

/// A notification in a form that can be compared.
pub(super) fn as_json(notification: &Notification) -> String {
    serde_json::to_string(notification).unwrap()
}

impl Model {
    /// Applies the operation to the model as the store answered it. The error says why that answer is wrong.
    pub(crate) fn accept(&mut self, operation: &Operation, outcome: &Outcome) -> Accepted {
        match (operation, outcome) {
            (Operation::Append { key, kind, to, others, delay_ms, ttl_ms, collapse }, Outcome::Appended(appended)) => {
                let send =
                    self.with_expiry_and_collapse(self.send(*key, *kind, *to, *others), *delay_ms, *ttl_ms, *collapse);
                self.append(send, &self.recipients(*to, *others), *delay_ms, appended)
            }
            (Operation::Cancel { key }, Outcome::Cancelled(cancelled)) => {
                let id = self.send(*key, 0, 0, 0).id;
                agree("the cancellation", *cancelled, self.cancel(id))
            }
            (Operation::Change { user, .. } | Operation::ReadAll { user, .. }, Outcome::Changed(changed)) => {
                self.changed(*user, operation, changed.as_ref())
            }
            (Operation::Snooze { user, id, wait_ms }, Outcome::Snoozed(snoozed)) => {
                self.snoozed(*user, *id, *wait_ms, snoozed)
            }
            (Operation::Unsnooze { limit }, Outcome::Unsnoozed(unsnoozed)) => self.unsnoozed(*limit, unsnoozed),
            (Operation::Acknowledge { user, cursor }, Outcome::Acknowledged(known)) => {
                self.acknowledged(*user, *cursor, *known)
            }
            (Operation::FirstAnswer { key }, Outcome::FirstAnswer(found)) => {
                let id = self.send(*key, 0, 0, 0).id;
                agree("the first answer", found.as_ref(), self.sends.get(&id))
            }
            (Operation::List { user, .. }, Outcome::Listed(listed)) => self.listed(*user, operation, listed),
            (Operation::Changes { user, since, limit }, Outcome::Changes(changes)) => {
                self.changes(*user, *since, *limit, changes.as_ref())
            }
            (Operation::Find { user, id }, Outcome::Found(found)) => {
                let inbox = self.inbox(self.user(*user));
                let id = self.id(*id);
                let present = inbox.present(self.now_ms()).find(|(_, row)| row.id == id);
                let expected = present.map(|(offset, row)| as_json(&self.notification(offset, row)));
                agree("the notification", found.as_ref().map(as_json), expected)
            }
            (Operation::MaterialiseNext, Outcome::Materialised(materialised)) => {
                self.materialised(materialised.as_ref())
            }
            (Operation::TakeDue { limit }, Outcome::Taken(first, rest)) => self.taken(*limit, first, rest.as_ref()),
            (Operation::Expire { limit }, Outcome::Expired(expired)) => self.expired(*limit, expired),
            (Operation::Take { rows }, Outcome::TakenByKey(fences, found)) => self.taken_by_key(rows, fences, found),
            (Operation::MarkOffered { rows }, Outcome::Done) => {
                for (user, offset) in rows {
                    let inbox = self.inboxes.get_mut(&self.users[*user]);
                    if let Some(row) = inbox.and_then(|inbox| inbox.rows.get_mut(offset)) {
                        row.push_at_ms = None;
                    }
                }
                Ok(())
            }
            (Operation::Purge { retention_ms }, Outcome::Done) => {
                self.purge(*retention_ms);
                Ok(())
            }
            (Operation::MarkResynced { users }, Outcome::Done) => {
                self.resynced(users);
                Ok(())
            }
            (Operation::Issue { .. }, Outcome::Done) => {
                let ticket = self.ticket(operation);
                self.tickets.extend(ticket.map(|ticket| (ticket.hash, ticket)));
                Ok(())
            }
            (Operation::Open { ticket, origin }, Outcome::Opened(opened)) => {
                let hash = self.ticket_hash(*ticket);
                self.opened(hash, operation::origin(*origin), &opened[0])
            }
            (Operation::Connect { .. }, Outcome::Opened(opened)) => {
                for (ticket, opened) in self.connecting(operation).into_iter().zip(opened) {
                    let hash = ticket.hash;
                    self.tickets.insert(hash, ticket);
                    self.opened(hash, None, opened)?;
                    self.advance(1);
                }
                Ok(())
            }
            (Operation::Extend { connection, ticket }, Outcome::Extended(extended)) => {
                self.extended(*connection, self.ticket_hash(*ticket), extended)
            }
            (Operation::FindConnection { connection }, Outcome::Connection(found)) => {
                let id = self.connection(*connection);
                let open = self.connections.iter().find(|open| open.connection.id == id);
                agree("the connection", found.as_ref(), open.map(|open| &open.connection))
            }
            (Operation::Forget { connections }, Outcome::Done) => {
                let gone: Vec<ConnectionId> = connections.iter().map(|number| self.connection(*number)).collect();
                self.connections.retain(|open| !gone.contains(&open.connection.id));
                Ok(())
            }
            (Operation::Sweep, Outcome::Ended(ended)) => self.swept(ended),
            (Operation::Wait { ms }, Outcome::Done) => {
                self.advance(*ms);
                Ok(())
            }
            (operation, outcome) => unreachable!("{operation:?} was answered {outcome:?}"),
        }
    }

    fn append(&mut self, send: Send, recipients: &[UserId], delay_ms: i64, appended: &Appended) -> Accepted {
        let first = FirstAnswer { fingerprint: send.fingerprint, answer: send.answer };
        match (appended, self.sends.get(&send.id)) {
            (Appended::Known(answer), Some(first)) => agree("the answer", answer, first),
            (Appended::Known(_), None) => Err("a new send was treated as a repeat".into()),
            (Appended::Stored(_), Some(_)) => Err("a repeat was stored again".into()),
            (Appended::Stored(Stored { deliveries, .. }), None) => {
                self.sends.insert(send.id, first);
                if delay_ms > 0 {
                    self.scheduled.insert(send.id);
                }
                let at_once = if delay_ms == 0 { recipients.len().min(CHUNK_RECIPIENTS) } else { 0 };
                let (now, later) = recipients.split_at(at_once);
                for recipients in later.chunks(CHUNK_RECIPIENTS) {
                    let (content, recipients) = (send.content.clone(), recipients.to_vec());
                    self.chunks.push(Chunk {
                        send: send.id,
                        content,
                        recipients,
                        due_ms: self.now_ms() + delay_ms,
                        accepted_ms: self.now_ms(),
                    });
                }
                self.arrive(send.id, &send.content, now, (self.now_ms(), self.now_ms()), deliveries)
            }
        }
    }

    fn cancel(&mut self, send: SendId) -> Cancelled {
        if self.scheduled.remove(&send) {
            self.cancelled.insert(send);
            self.chunks.retain(|chunk| chunk.send != send);
        }
        match (self.cancelled.contains(&send), self.sends.contains_key(&send)) {
            (true, _) => Cancelled::Done,
            (false, true) => Cancelled::Started,
            (false, false) => Cancelled::Unknown,
        }
    }

    fn materialised(&mut self, materialised: Option<&(NotificationId, Vec<Delivery>)>) -> Accepted {
        agree("whether a chunk was due", materialised.is_some(), !self.due_chunks().is_empty())?;
        let Some((first, deliveries)) = materialised else { return Ok(()) };
        let index = self.chunks.iter().position(|chunk| chunk.first() == *first).ok_or("the chunk was not waiting")?;
        let chunk = self.chunks.remove(index);
        if chunk.has_expired(self.now_ms()) {
            return agree("the deliveries of an expired chunk", deliveries.len(), 0);
        }
        self.scheduled.remove(&chunk.send);
        self.arrive(chunk.send, &chunk.content, &chunk.recipients, (chunk.due_ms, chunk.accepted_ms), deliveries)
    }

    /// A notification arrives in these inboxes. Recipients with connections get a delivery.
    fn arrive(
        &mut self,
        send: SendId,
        content: &Arc<Content>,
        recipients: &[UserId],
        newness: (i64, i64),
        deliveries: &[Delivery],
    ) -> Accepted {
        let now_ms = self.now_ms();
        let mut expected = BTreeMap::new();
        for user in recipients {
            let connections = self.valid_connections(user);
            let inbox = self.inboxes.entry(user.clone()).or_default();
            let replaced = inbox.replaced(content.collapse_key.as_ref(), newness, now_ms);
            let arrives_late = replaced.is_none();
            let mut replaces = Vec::new();
            for offset in replaced.unwrap_or_default() {
                inbox.head += 1;
                let older = inbox.rows.get_mut(&offset).unwrap();
                (older.version, older.is_deleted, older.push_at_ms) = (inbox.head, true, None);
                older.deleted_at_ms = now_ms;
                replaces.push(older.id);
            }
            let is_pushed = !connections.is_empty() && !arrives_late;
            inbox.head += 1;
            let row = Row {
                id: NotificationId::of(send, user),
                content: content.clone(),
                version: inbox.head,
                newness,
                created_at_ms: now_ms,
                arrived_at_ms: now_ms,
                read_at_ms: None,
                is_deleted: arrives_late,
                deleted_at_ms: if arrives_late { now_ms } else { 0 },
                snoozed_until_ms: None,
                push_at_ms: is_pushed.then_some(now_ms + PUSH_GRACE_MS),
                times_taken: 0,
            };
            inbox.rows.insert(inbox.head, row.clone());
            let offset = inbox.head;
            if is_pushed {
                expected.insert((user.clone(), offset), self.delivery(user, offset, &row, &replaces, &connections));
            }
        }
        agree("the deliveries", by_row(deliveries)?, expected)
    }

    /// A delivery in a form that can be compared.
    pub(super) fn delivery(
        &self,
        user: &UserId,
        offset: i64,
        row: &Row,
        replaces: &[NotificationId],
        connections: &[Connection],
    ) -> String {
        let unread = self.inbox(user).unread(self.now_ms());
        let (fence_ms, attempt) = (row.push_at_ms.unwrap_or_default(), row.times_taken);
        let (json, arrived) = (as_json(&self.notification(offset, row)), row.arrived_at_ms);
        format!(
            "{json} at {arrived} unread {unread} replaces {replaces:?} to {connections:?} \
             fence {fence_ms} attempt {attempt}"
        )
    }

    pub(super) fn notification(&self, offset: i64, row: &Row) -> Notification {
        row.notification(self.cursor(CursorSpec { offset, foreign: false }))
    }

    pub(super) fn position(&self, user: &UserId) -> Position {
        let inbox = self.inbox(user);
        let (head, acked, unread) = (inbox.head, inbox.acked, inbox.unread(self.now_ms()));
        let expired = i64::try_from(inbox.expired(self.now_ms()).count()).unwrap();
        Position { epoch: self.epoch, head, acked, purged_through: inbox.purged_through, unread, expired }
    }

    fn changed(&mut self, user: usize, operation: &Operation, changed: Option<&Changed>) -> Accepted {
        let (user, now_ms) = (self.user(user).clone(), self.now_ms());
        let mut inbox = self.inbox(&user);
        if let Operation::ReadAll { before: Some(before), .. } = operation
            && !self.knows(&inbox, *before)
        {
            return agree("whether the cursor is known", changed.is_some(), false);
        }
        let changed = changed.ok_or("the cursor is known, but nothing was changed")?;
        let (expected, known) = self.affected(&inbox, operation);
        let ids: BTreeSet<NotificationId> = changed.ids.iter().copied().collect();
        agree("the ids that changed", (changed.ids.len(), ids), (expected.len(), expected))?;
        agree("how many ids are known", changed.known, known)?;
        agree("the cursor before", changed.prev, self.position(&user).cursor())?;
        for id in &changed.ids {
            inbox.head += 1;
            let row =
                inbox.rows.values_mut().find(|row| row.id == *id).ok_or("an id that is not in the inbox changed")?;
            row.version = inbox.head;
            match operation {
                Operation::Change { edit: Edit::Unread, .. } => row.read_at_ms = None,
                Operation::Change { edit: Edit::Delete, .. } => {
                    (row.is_deleted, row.deleted_at_ms, row.push_at_ms) = (true, now_ms, None);
                }
                _ => (row.read_at_ms, row.push_at_ms) = (Some(now_ms), None),
            }
        }
        if let Operation::Change { edit: Edit::Delete, ids, .. } = operation {
            inbox.end_snoozes(&ids.iter().map(|id| self.id(*id)).collect(), now_ms);
        }
        agree("how many are unread", changed.unread, inbox.unread(now_ms))?;
        if inbox.head > 0 {
            self.inboxes.insert(user.clone(), inbox);
        }
        agree("the cursor after", changed.cursor, self.position(&user).cursor())?;
        let notified = if changed.ids.is_empty() { Vec::new() } else { self.valid_connections(&user) };
        agree("the connections to notify", sorted_by_id(&changed.connections), notified)
    }

    /// Those that expired first become tombstones, within each inbox in the order of arrival.
    fn expired(&mut self, limit: usize, expired: &[(UserId, Changed)]) -> Accepted {
        let now_ms = self.now_ms();
        let mut by_user: BTreeMap<UserId, BTreeSet<i64>> = BTreeMap::new();
        for (_, user, offset) in self.expired_rows().into_iter().take(limit) {
            by_user.entry(user).or_default().insert(offset);
        }
        agree(
            "the users with expired notifications",
            expired.iter().map(|(user, _)| user).collect(),
            by_user.keys().collect::<Vec<_>>(),
        )?;
        for ((user, changed), offsets) in expired.iter().zip(by_user.values()) {
            agree("the cursor before", changed.prev, self.position(user).cursor())?;
            let inbox = self.inboxes.get_mut(user).unwrap();
            let mut ids = Vec::new();
            for offset in offsets {
                inbox.head += 1;
                let row = inbox.rows.get_mut(offset).unwrap();
                (row.version, row.is_deleted, row.push_at_ms) = (inbox.head, true, None);
                row.deleted_at_ms = now_ms;
                ids.push(row.id);
            }
            agree("the expired ids", (&changed.ids, changed.known), (&ids, ids.len()))?;
            agree("how many are unread", changed.unread, inbox.unread(now_ms))?;
            agree("the cursor after", changed.cursor, self.position(user).cursor())?;
            agree("the connections to notify", sorted_by_id(&changed.connections), self.valid_connections(user))?;
        }
        Ok(())
    }

    /// The ids of the rows that an operation changes, and how many of the named ids are known.
    fn affected(&self, inbox: &Inbox, operation: &Operation) -> (BTreeSet<NotificationId>, usize) {
        match operation {
            Operation::Change { edit, ids, .. } => {
                let named: BTreeSet<NotificationId> = ids.iter().map(|id| self.id(*id)).collect();
                let rows: Vec<&Row> = inbox.rows.values().filter(|row| named.contains(&row.id)).collect();
                let present = rows.iter().filter(|row| !row.is_gone(self.now_ms()));
                let known = if *edit == Edit::Delete { rows.len() } else { present.clone().count() };
                let affected = present.filter(|row| match edit {
                    Edit::Read => row.read_at_ms.is_none(),
                    Edit::Unread => row.read_at_ms.is_some(),
                    Edit::Delete => true,
                });
                (affected.map(|row| row.id).collect(), known)
            }
            Operation::ReadAll { before, .. } => {
                let Change::ReadAll { kind, .. } = self.change(operation) else { unreachable!() };
                let up_to = before.map_or(i64::MAX, |before| before.offset);
                let unread = inbox.present(self.now_ms()).filter(|(offset, row)| {
                    row.read_at_ms.is_none()
                        && *offset <= up_to
                        && kind.as_ref().is_none_or(|kind| *kind == row.content.kind)
                });
                (unread.map(|(_, row)| row.id).collect(), 0)
            }
            other => unreachable!("{other:?} is not a change"),
        }
    }

    fn acknowledged(&mut self, user: usize, cursor: CursorSpec, known: bool) -> Accepted {
        let user = self.user(user).clone();
        let expected = self.knows(&self.inbox(&user), cursor);
        agree("whether the cursor is known", known, expected)?;
        if let Some(inbox) = self.inboxes.get_mut(&user).filter(|_| known) {
            inbox.acked = inbox.acked.max(cursor.offset);
        }
        Ok(())
    }

    fn listed(&self, user: usize, operation: &Operation, listed: &Listed) -> Accepted {
        let (user, page) = (self.user(user), self.page(operation));
        let inbox = self.inbox(user);
        let matches = |(offset, row): &(i64, &Row)| {
            page.before.is_none_or(|before| *offset < before)
                && page.kind.as_ref().is_none_or(|kind| *kind == row.content.kind)
                && (!page.unread || row.read_at_ms.is_none())
        };
        let all: Vec<String> = inbox
            .present(self.now_ms())
            .rev()
            .filter(matches)
            .map(|(offset, row)| as_json(&self.notification(offset, row)))
            .collect();
        let shown = &all[..all.len().min(page.bounds.items)];
        agree("the page", listed.notifications.iter().map(as_json).collect::<Vec<_>>().as_slice(), shown)?;
        agree("whether more follow", listed.more, all.len() > shown.len())?;
        agree("the position", listed.position, self.position(user))
    }

    pub(super) fn changes(
        &self,
        user: usize,
        since: Option<CursorSpec>,
        limit: usize,
        changes: Option<&Changes>,
    ) -> Accepted {
        let user = self.user(user);
        let inbox = self.inbox(user);
        let known = since.is_none_or(|since| self.knows(&inbox, since));
        agree("whether the cursor is known", changes.is_some(), known)?;
        let Some(changes) = changes else { return Ok(()) };
        let now_ms = self.now_ms();
        let all: BTreeMap<i64, String> = inbox
            .rows
            .iter()
            .filter(|(_, row)| since.map_or(!row.is_gone(now_ms), |since| row.version > since.offset))
            .map(|(offset, row)| {
                let state =
                    if row.is_gone(now_ms) { row.id.to_string() } else { as_json(&self.notification(*offset, row)) };
                (row.version, state)
            })
            .collect();
        let found: Vec<(i64, String)> = changes
            .changes
            .iter()
            .map(|present| match present {
                CurrentState::Present { version, notification } => (*version, as_json(notification)),
                CurrentState::Deleted { version, id } => (*version, id.to_string()),
            })
            .collect();
        let complete = all.len() <= limit;
        agree("the changes", found, all.into_iter().take(limit).collect())?;
        agree("whether these are all", changes.complete, complete)?;
        agree("the position", changes.position, self.position(user))
    }
}

/// Deliveries in a form that can be compared: their order is up to the store.
pub(super) fn by_row(deliveries: &[Delivery]) -> Result<BTreeMap<(UserId, i64), String>, String> {
    let mut rows = BTreeMap::new();
    for delivery in deliveries {
        let Delivery { user, notification, arrived_at_ms, unread, replaces, connections, fence_ms, attempt } = delivery;
        let (json, connections) = (as_json(notification), sorted_by_id(connections));
        let text = format!(
            "{json} at {arrived_at_ms} unread {unread} replaces {replaces:?} to {connections:?} \
             fence {fence_ms} attempt {attempt}"
        );
        if rows.insert((user.clone(), notification.cursor.offset), text).is_some() {
            return Err(format!("two deliveries to {user} at {}", notification.cursor.offset));
        }
    }
    Ok(rows)
}
