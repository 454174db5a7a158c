//! The model's due rows: which call takes which, and which users have so many that they are taken as one.

use std::collections::{BTreeMap, BTreeSet};

use shared::delivery::deliveries::{MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, Resync, RowKey, Taken};
use shared::delivery::{Delivery, PUSH_GRACE_MS};
use shared::ids::UserId;
use shared::sockets::connections::Connection;

use super::accept::{Accepted, agree, by_row};
use super::sockets::sorted_by_id;
use super::state::Model;

impl Model {
    pub(super) fn taken(&mut self, limit: usize, first: &Taken, rest: Option<&Taken>) -> Accepted {
        let due = self.due_rows();
        let found: Vec<Delivery> =
            [Some(first), rest].into_iter().flatten().flat_map(|taken| taken.deliveries.clone()).collect();
        let resyncs: Vec<Resync> =
            [Some(first), rest].into_iter().flatten().flat_map(|taken| taken.resyncs.clone()).collect();
        if first.deliveries.len() > limit {
            return Err(format!("{} were taken", first.deliveries.len()));
        }
        let mut examined = due.clone();
        if rest.is_none() && due.len() > limit {
            examined = self.examined_rows(limit, &due, &found, &resyncs)?;
        }
        let has_backlog = |user: &UserId| due.iter().filter(|(_, of, _)| of == user).count() > MAX_FRAMES_PER_USER;
        let (mut expected, mut expected_resyncs) = (BTreeMap::new(), BTreeMap::new());
        for (_, user, _) in &examined {
            let connections = self.valid_connections(user);
            if has_backlog(user) && !connections.is_empty() {
                expected_resyncs.insert(user.clone(), (self.inbox(user).head, connections));
            }
        }
        // All rows of users with a backlog, whatever the limit is.
        let is_taken = |row: &&(i64, UserId, i64)| {
            examined.contains(row) || (has_backlog(&row.1) && examined.iter().any(|(_, user, _)| *user == row.1))
        };
        for (_, user, offset) in due.iter().filter(is_taken) {
            let connections = self.valid_connections(user);
            let now_ms = self.now_ms();
            let row = self.inboxes.get_mut(user).and_then(|inbox| inbox.rows.get_mut(offset)).unwrap();
            let wait_ms = (PUSH_GRACE_MS << row.times_taken.min(16)).min(MAX_PUSH_DELAY_MS);
            let is_pushed = !connections.is_empty() && !row.is_gone(now_ms);
            row.push_at_ms = is_pushed.then_some(now_ms + wait_ms);
            row.times_taken += 1;
            let row = row.clone();
            if is_pushed && !has_backlog(user) {
                expected.insert((user.clone(), *offset), self.delivery(user, *offset, &row, &[], &connections));
            }
        }
        let fell_due = |delivery: &Delivery| {
            let is = |(_, user, offset): &&(i64, UserId, i64)| {
                *user == delivery.user && *offset == delivery.notification.cursor.offset
            };
            due.iter().find(is).map(|(push_at_ms, ..)| *push_at_ms)
        };
        if !found.iter().map(fell_due).is_sorted() {
            return Err("rows that fell due earlier were not taken first".into());
        }
        agree("the resyncs", by_user(&resyncs)?, expected_resyncs)?;
        agree("the deliveries", by_row(&found)?, expected)
    }

    /// The rows that a take with this limit examined. Among rows that fell due at the same time the store had a choice; all
    /// of them have a connection to go to.
    fn examined_rows(
        &self,
        limit: usize,
        due: &[(i64, UserId, i64)],
        found: &[Delivery],
        resyncs: &[Resync],
    ) -> Result<Vec<(i64, UserId, i64)>, String> {
        let Some(last_ms) = limit.checked_sub(1).map(|last| due[last].0) else { return Ok(Vec::new()) };
        let mut examined: Vec<_> = due.iter().filter(|(push_at_ms, ..)| *push_at_ms < last_ms).cloned().collect();
        let remaining = limit - examined.len();
        let was_resynced = |user: &UserId| resyncs.iter().any(|resync| resync.user == *user);
        let resynced_rows: Vec<_> =
            due.iter().filter(|(push_at_ms, user, _)| *push_at_ms == last_ms && was_resynced(user)).collect();
        let is_found = |(push_at_ms, user, offset): &&(i64, UserId, i64)| {
            let is = |delivery: &Delivery| delivery.user == *user && delivery.notification.cursor.offset == *offset;
            *push_at_ms == last_ms && found.iter().any(is)
        };
        let rows: Vec<_> = due.iter().filter(is_found).cloned().collect();
        // Of a resynced user, one or more rows were examined.
        if rows.len() > remaining || rows.len() + resynced_rows.len() < remaining {
            return Err(format!(
                "{} of the rows that fell due last were taken, and {remaining} were expected",
                rows.len()
            ));
        }
        examined.extend(rows);
        examined.extend(resynced_rows.into_iter().cloned());
        Ok(examined)
    }

    /// The current key of a row with its fence off by `off_ms`, or a key for a row that does not exist.
    pub(super) fn key(&self, (user, offset, off_ms): &(usize, i64, i64)) -> RowKey<'_> {
        let user = &self.users[*user];
        let push_at_ms = self.inbox(user).rows.get(offset).and_then(|row| row.push_at_ms);
        RowKey { user, offset: *offset, fence_ms: push_at_ms.unwrap_or_else(|| self.now_ms()) + off_ms }
    }

    pub(super) fn taken_by_key(&mut self, rows: &[(usize, i64, i64)], fences: &[i64], found: &[Delivery]) -> Accepted {
        let mut expected = BTreeMap::new();
        let named =
            rows.iter().zip(fences).map(|((user, offset, _), fence)| (self.users[*user].clone(), *offset, *fence));
        for (user, offset, fence_ms) in named.collect::<BTreeSet<(UserId, i64, i64)>>() {
            let (connections, now_ms) = (self.valid_connections(&user), self.now_ms());
            let row = self.inboxes.get_mut(&user).and_then(|inbox| inbox.rows.get_mut(&offset));
            let Some(row) = row.filter(|row| row.push_at_ms == Some(fence_ms)) else { continue };
            row.times_taken += 1;
            let is_pushed = !connections.is_empty() && row.read_at_ms.is_none() && !row.is_gone(now_ms);
            // The longest backoff before the next attempt; the row comes back 5 s after that.
            let retry_ms = [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000];
            let retry_ms = retry_ms[(row.times_taken as usize).min(10)];
            row.push_at_ms = is_pushed.then_some(now_ms + PUSH_GRACE_MS + retry_ms);
            let row = row.clone();
            if is_pushed {
                expected.insert((user.clone(), offset), self.delivery(&user, offset, &row, &[], &connections));
            }
        }
        if !found.iter().map(|row| (&row.user, row.notification.cursor.offset)).is_sorted() {
            return Err("the deliveries are not sorted by user and offset".into());
        }
        agree("the deliveries", by_row(found)?, expected)
    }

    pub(super) fn resynced(&mut self, users: &[(usize, i64)]) {
        for (user, through) in users {
            if let Some(inbox) = self.inboxes.get_mut(&self.users[*user]) {
                inbox.rows.range_mut(..=through).for_each(|(_, row)| row.push_at_ms = None);
            }
        }
    }
}

/// Resyncs in a form that can be compared: their order is up to the store.
fn by_user(resyncs: &[Resync]) -> Result<BTreeMap<UserId, (i64, Vec<Connection>)>, String> {
    let mut users = BTreeMap::new();
    for Resync { user, through, connections } in resyncs {
        if users.insert(user.clone(), (*through, sorted_by_id(connections))).is_some() {
            return Err(format!("two resyncs for {user}"));
        }
    }
    Ok(users)
}
