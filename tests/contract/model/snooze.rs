//! The model's snoozes: what is gone for a time, and how it arrives anew.

use std::collections::{BTreeMap, BTreeSet};

use shared::delivery::PUSH_GRACE_MS;
use shared::ids::{NotificationId, UserId};
use shared::inbox::snooze::{Snoozed, Unsnoozed};

use super::accept::{Accepted, agree, by_row};
use super::sockets::sorted_by_id;
use super::state::{Inbox, Model, Row};

impl Inbox {
    /// Deletes those of these that are snoozed.
    pub(super) fn end_snoozes(&mut self, ids: &BTreeSet<NotificationId>, now_ms: i64) {
        let snoozed = |row: &&mut Row| row.snoozed_until_ms.is_some() && ids.contains(&row.id);
        for row in self.rows.values_mut().filter(snoozed) {
            (row.snoozed_until_ms, row.deleted_at_ms) = (None, now_ms);
        }
    }

    /// Whether a newer notification of its collapse key arrived after this row was snoozed.
    fn is_replaced(&self, row: &Row) -> bool {
        row.content.collapse_key.is_some()
            && self.rows.iter().any(|(offset, newer)| {
                newer.content.collapse_key == row.content.collapse_key
                    && newer.newness >= row.newness
                    && *offset > row.version
            })
    }
}

impl Model {
    pub(super) fn snoozed(&mut self, user: usize, id: (u8, usize), wait_ms: i64, snoozed: &Snoozed) -> Accepted {
        let (user, id, now_ms) = (self.user(user).clone(), self.id(id), self.now_ms());
        let (before, connections) = (self.position(&user), self.valid_connections(&user));
        let until_ms = now_ms + wait_ms.max(0);
        let mut inbox = self.inbox(&user);
        let is_there = |row: &Row| !row.is_gone(now_ms) || row.snoozed_until_ms.is_some() && !row.has_expired(now_ms);
        let found = inbox.rows.values_mut().find(|row| row.id == id && is_there(row));
        let (changed, row) = match (snoozed, found) {
            (Snoozed::Unknown, None) => return Ok(()),
            (Snoozed::TooLate, Some(row)) => {
                return agree("whether it is kept until then", false, !row.has_expired(until_ms));
            }
            (Snoozed::Done(changed), Some(row)) if !row.has_expired(until_ms) => (changed, row),
            (snoozed, found) => return Err(format!("{snoozed:?}, expected {found:?}")),
        };
        let is_first = row.snoozed_until_ms.replace(until_ms).is_none();
        if is_first {
            inbox.head += 1;
            (row.version, row.is_deleted, row.deleted_at_ms) = (inbox.head, true, now_ms);
            (row.read_at_ms, row.push_at_ms) = (None, None);
        }
        self.inboxes.insert(user.clone(), inbox);
        let after = self.position(&user);
        agree("the cursors", (changed.prev, changed.cursor), (before.cursor(), after.cursor()))?;
        agree("how many are unread", changed.unread, after.unread)?;
        let expected = if is_first { (vec![id], connections) } else { Default::default() };
        agree("whom it is told", (changed.ids.clone(), sorted_by_id(&changed.connections)), expected)?;
        agree("how many ids are known", changed.known, 1)
    }

    /// The snoozes that are over, in the order in which they end.
    fn ended_snoozes(&self, limit: usize) -> Vec<(i64, UserId, i64)> {
        let rows = self.inboxes.iter().flat_map(|(user, inbox)| {
            inbox.rows.iter().filter_map(|(offset, row)| Some((row.snoozed_until_ms?, user.clone(), *offset)))
        });
        let mut ended: Vec<_> = rows.filter(|(until_ms, ..)| *until_ms <= self.now_ms()).collect();
        ended.sort();
        ended.truncate(limit);
        ended
    }

    pub(super) fn unsnoozed(&mut self, limit: usize, unsnoozed: &Unsnoozed) -> Accepted {
        let (ended, now_ms) = (self.ended_snoozes(limit), self.now_ms());
        agree("how many snoozes ended", unsnoozed.snoozes, ended.len())?;
        // What is decided before anything arrives.
        let before = self.inboxes.clone();
        let mut expected = BTreeMap::new();
        for (_, user, offset) in ended {
            let connections = self.valid_connections(&user);
            let inbox = self.inboxes.get_mut(&user).unwrap();
            let mut row = inbox.rows.remove(&offset).unwrap();
            row.snoozed_until_ms = None;
            if row.has_expired(now_ms) || before[&user].is_replaced(&row) {
                row.deleted_at_ms = now_ms;
                inbox.rows.insert(offset, row);
                continue;
            }
            inbox.head += 1;
            let offset = inbox.head;
            (row.version, row.is_deleted, row.arrived_at_ms, row.times_taken) = (offset, false, now_ms, 0);
            row.push_at_ms = (!connections.is_empty()).then_some(now_ms + PUSH_GRACE_MS);
            inbox.rows.insert(offset, row.clone());
            if !connections.is_empty() {
                expected.insert((user.clone(), offset), self.delivery(&user, offset, &row, &[], &connections));
            }
        }
        agree("the deliveries", by_row(&unsnoozed.deliveries)?, expected)
    }
}
