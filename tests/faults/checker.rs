//! The final comparison of the logs of accepted sends and messages, the devices and the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use harness::conversation::{Conversation, Findings, Screen, Stored as StoredMessage};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use crate::device::{Device, Shown, Transport};
use crate::sender::Sent;

/// How much work waits in the record.
pub(crate) const WAITING: &str = "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                                       + (SELECT count(*) FROM messages WHERE push_at IS NOT NULL)
                                       + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')";

/// What is promised of sends and messages that were accepted fast, while this happens to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FastPromise {
    /// They are stored in the order in which they were accepted.
    InOrder,
    /// They are stored, but those that Redis had while it was away come after what was accepted meanwhile.
    Stored,
    /// What Redis had when it lost its data is lost.
    BestEffort,
}

/// The result of the comparison.
#[derive(Default)]
pub(crate) struct Found {
    /// Notifications that a 2xx answer promised.
    pub(crate) accepted: usize,
    /// Accepted notifications whose 2xx said that they are committed.
    pub(crate) durable: usize,
    /// Accepted notifications that are missing from the database or from a device of their user.
    pub(crate) lost: usize,
    /// Sends that were accepted fast and that Redis lost, where that is not promised otherwise. Each has one recipient.
    pub(crate) sends_lost_by_redis: usize,
    /// Messages of which the same is true.
    pub(crate) messages_lost_by_redis: usize,
    pub(crate) frames: usize,
    pub(crate) duplicate_frames: usize,
    pub(crate) shown_twice: usize,
    pub(crate) order_violations: usize,
    /// What is wrong with the messages of chats.
    pub(crate) chats: Findings,
    pub(crate) message_frames: usize,
    pub(crate) duplicate_message_frames: usize,
    /// Descriptions of broken invariants, at most a few for each invariant.
    pub(crate) violations: Vec<String>,
}

impl Found {
    /// Lost notifications and messages.
    pub(crate) fn all_lost(&self) -> usize {
        self.lost + self.chats.lost
    }

    pub(crate) fn all_frames(&self) -> usize {
        self.frames + self.message_frames
    }

    pub(crate) fn all_duplicate_frames(&self) -> usize {
        self.duplicate_frames + self.duplicate_message_frames
    }

    pub(crate) fn all_shown_twice(&self) -> usize {
        self.shown_twice + self.chats.twice
    }

    pub(crate) fn all_disordered(&self) -> usize {
        self.order_violations + self.chats.disordered + self.chats.gaps
    }
}

/// The parts of an inbox row that are compared.
struct Stored {
    offset: i64,
    title: String,
}

/// The rows of each user's inbox, by notification id.
type Inboxes = HashMap<String, HashMap<String, Stored>>;

/// Checks the invariants. I1: every accepted notification is in the database and on every device of its user. I2:
/// nothing is shown twice. I3: offsets have no gaps; devices show notifications in offset order, and the sends of each
/// service in the order in which it sent them. I5: a device shows what is in its user's inbox and nothing else. I8: no
/// work is left.
///
/// Sends that were accepted fast have another promise; without one there are none.
pub(crate) async fn compare(
    database: &PgPool,
    accepted: &[Sent],
    devices: &[Arc<Device>],
    fast: Option<FastPromise>,
) -> Found {
    let mut found = Found::default();
    let stored = stored(database, &mut found).await;
    found.check_accepted(accepted, &stored, devices, fast);
    let is_unordered = |sent: &&Sent| sent.is_fast() && fast != Some(FastPromise::InOrder);
    let unordered: HashSet<&str> =
        accepted.iter().filter(is_unordered).filter_map(|sent| sent.request["title"].as_str()).collect();
    for device in devices {
        found.check_device(device, &stored, &unordered);
    }
    found.check_nothing_waits(database).await;
    found
}

async fn stored(database: &PgPool, found: &mut Found) -> Inboxes {
    let query = r#"SELECT n.user_id, n.id::text AS id, n."offset", n.version, s.title FROM notifications n
                     JOIN sends s ON s.id = n.send_id ORDER BY n.user_id, n."offset""#;
    let user_of = |row: &PgRow| row.get::<String, _>("user_id");
    let (mut inboxes, mut inbox): (Inboxes, Vec<PgRow>) = Default::default();
    let mut rows = sqlx::query(query).fetch(database);
    // Takes one inbox after the other: all rows of a soak at once would need gigabytes.
    while let Some(row) = rows.try_next().await.unwrap() {
        if let Some(user) = inbox.first().map(user_of).filter(|user| *user != user_of(&row)) {
            inboxes.insert(user.clone(), found.check_inbox(&user, &inbox));
            inbox.clear();
        }
        inbox.push(row);
    }
    if let Some(user) = inbox.first().map(user_of) {
        inboxes.insert(user.clone(), found.check_inbox(&user, &inbox));
    }
    inboxes
}

impl Found {
    /// Checks the rows of one inbox, which are in the order of their offsets; returns them by notification id.
    fn check_inbox(&mut self, user: &str, rows: &[PgRow]) -> HashMap<String, Stored> {
        // A position of an inbox that nothing arrived at is that of a change, such as a reading.
        let changes: HashSet<i64> = rows.iter().map(|row| row.get("version")).collect();
        let (mut stored, mut titles, mut head) = (HashMap::new(), HashSet::new(), 0_i64);
        for row in rows {
            let (offset, title): (i64, String) = (row.get("offset"), row.get("title"));
            if !titles.insert(title.clone()) {
                self.shown_twice += 1;
                self.violated("I2", format!("{title} appears twice in the inbox of {user}"));
            }
            head += 1;
            while head < offset && changes.contains(&head) {
                head += 1;
            }
            if head != offset {
                self.order_violations += 1;
                self.violated("I3", format!("the inbox of {user} has offset {offset} instead of {head}"));
                head = offset;
            }
            stored.insert(row.get("id"), Stored { offset, title });
        }
        stored
    }

    fn check_accepted(
        &mut self,
        accepted: &[Sent],
        stored: &Inboxes,
        devices: &[Arc<Device>],
        fast: Option<FastPromise>,
    ) {
        let screens: Vec<(&str, HashSet<String>)> = devices
            .iter()
            .map(|device| {
                let seen = device.seen.lock().unwrap();
                (device.user.as_str(), seen.shown.iter().map(|shown| shown.id.clone()).collect())
            })
            .collect();
        for sent in accepted {
            let (promised, durable) = (sent.promised(), sent.answer.contains(r#""durability":"durable""#));
            self.durable += if durable { promised.len() } else { 0 };
            if promised.is_empty() || !durable && (fast.is_none() || !sent.is_fast()) {
                self.violated("I9", format!("a 2xx answer promised no durable notifications: {}", sent.answer));
            }
            for (user, id) in promised {
                self.accepted += 1;
                let shown = screens.iter().filter(|(owner, _)| *owner == user).all(|(_, shown)| shown.contains(&id));
                let is_stored = stored.get(&user).is_some_and(|inbox| inbox.contains_key(&id));
                if sent.is_fast() && fast == Some(FastPromise::BestEffort) && !is_stored {
                    self.sends_lost_by_redis += 1;
                    continue;
                }
                if !is_stored || !shown {
                    self.lost += 1;
                    let missing_from = if shown { "the database" } else { "a device" };
                    self.violated("I1", format!("{} to {user} is missing from {missing_from}", sent.request["title"]));
                }
            }
        }
    }

    /// `unordered`: titles whose place among those of their sender is not promised.
    fn check_device(&mut self, device: &Device, stored: &Inboxes, unordered: &HashSet<&str>) {
        let (seen, inbox) = (device.seen.lock().unwrap(), stored.get(&device.user));
        self.frames += seen.frames.values().sum::<usize>();
        self.duplicate_frames += seen.frames.values().map(|count| count - 1).sum::<usize>();
        // A stream follows the cursor of its client, so a push that is repeated is not told again.
        let twice = seen.frames.values().filter(|count| **count > 1).count();
        if device.transport == Transport::Stream && twice > 0 {
            self.violated("frames", format!("a stream of {} told of {twice} notifications twice", device.user));
        }
        for error in &seen.errors {
            self.order_violations += 1;
            self.violated("I3", format!("a device of {}: {error}", device.user));
        }
        let (shown, all) = (seen.shown.len(), inbox.map_or(0, HashMap::len));
        if shown != all {
            self.violated("I1", format!("a device of {} shows {shown} of {all} notifications", device.user));
        }
        let mut titles = HashSet::new();
        let mut latest: HashMap<String, usize> = HashMap::new();
        let mut before = 0;
        for Shown { offset, id, title, .. } in &seen.shown {
            if !titles.insert(title) {
                self.shown_twice += 1;
                self.violated("I2", format!("{title} is shown twice to {}", device.user));
            }
            match inbox.and_then(|inbox| inbox.get(id)) {
                Some(stored) if stored.offset == *offset && stored.title == *title => {}
                _ => self.violated("I5", format!("{title} is shown to {} but is not in its inbox", device.user)),
            }
            let (sender, n) = title.rsplit_once('/').unwrap_or((title, "0"));
            let n: usize = n.parse().unwrap_or_default();
            let previous = match unordered.contains(title.as_str()) {
                true => None,
                false => latest.insert(sender.to_owned(), n),
            };
            if *offset <= before || previous.is_some_and(|previous| previous >= n) {
                self.order_violations += 1;
                self.violated("I3", format!("{title} at offset {offset} is shown to {} after {before}", device.user));
            }
            before = *offset;
        }
    }

    /// Reports work that still waits in the record.
    async fn check_nothing_waits(&mut self, database: &PgPool) {
        let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(database).await.unwrap();
        if waiting > 0 {
            self.violated("I8", format!("{waiting} rows, messages and chunks still wait in the database"));
        }
    }

    /// Checks the messages of chats: every accepted one is in the record and on every device of a member, at the same place
    /// for all, in an order that no sender's contradicts; nothing is stored or shown twice; places have no gaps; and what is
    /// unread is what a count over the record finds. `conversation` lacks only the record and the devices.
    pub(crate) async fn check_chats(
        &mut self,
        database: &PgPool,
        devices: &[Arc<Device>],
        mut conversation: Conversation,
    ) {
        let query = "SELECT chat_id::text AS chat, seq, id::text AS id, sender_id, client_id FROM messages";
        let rows = sqlx::query(query).fetch_all(database).await.unwrap();
        conversation.record = rows
            .iter()
            .map(|row| StoredMessage {
                chat: row.get("chat"),
                seq: row.get("seq"),
                id: row.get("id"),
                sender: row.get("sender_id"),
                client_id: row.get("client_id"),
            })
            .collect();
        for device in devices {
            let seen = device.seen.lock().unwrap();
            conversation.screens.push(Screen { user: device.user.clone(), chats: seen.chats.clone() });
            self.message_frames += seen.message_frames.values().sum::<usize>();
            self.duplicate_message_frames += seen.message_frames.values().map(|count| count - 1).sum::<usize>();
        }
        self.chats = conversation.findings();
        for how in self.chats.described.clone() {
            self.violated("chats", how);
        }
    }

    /// Records a violation, unless enough violations of the same invariant are recorded.
    pub(crate) fn violated(&mut self, invariant: &str, how: String) {
        const MAX_PER_INVARIANT: usize = 3;
        if self.violations.iter().filter(|noted| noted.starts_with(invariant)).count() < MAX_PER_INVARIANT {
            self.violations.push(format!("{invariant}: {how}"));
        }
    }
}
