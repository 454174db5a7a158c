//! The final comparison of the log of accepted sends, the devices and the database.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{PgPool, Row};

use crate::device::{Device, Shown};
use crate::sender::Sent;

/// The result of the comparison.
#[derive(Default)]
pub(crate) struct Found {
    /// Notifications that a 2xx answer promised.
    pub(crate) accepted: usize,
    /// Accepted notifications whose 2xx said that they are committed.
    pub(crate) durable: usize,
    /// Accepted notifications that are missing from the database or from a device of their user.
    pub(crate) lost: usize,
    pub(crate) frames: usize,
    pub(crate) duplicate_frames: usize,
    pub(crate) shown_twice: usize,
    pub(crate) order_violations: usize,
    /// Descriptions of broken invariants, at most a few for each invariant.
    pub(crate) violations: Vec<String>,
}

/// The parts of an inbox row that are compared.
struct Stored {
    offset: i64,
    title: String,
}

/// Checks the invariants. I1: every accepted notification is in the database and on every device of its user. I2:
/// nothing is shown twice. I3: offsets have no gaps; devices show notifications in offset order, and the sends of each
/// service in the order in which it sent them. I5: a device shows what is in its user's inbox and nothing else. I8: no
/// work is left.
pub(crate) async fn compare(database: &PgPool, accepted: &[Sent], devices: &[Device]) -> Found {
    let mut found = Found::default();
    let stored = stored(database, &mut found).await;
    found.check_accepted(accepted, &stored, devices);
    for device in devices {
        found.check_device(device, &stored);
    }
    found.check_nothing_waits(database).await;
    found
}

async fn stored(database: &PgPool, found: &mut Found) -> HashMap<(String, String), Stored> {
    let query = r#"SELECT n.user_id, n.id::text AS id, n."offset", s.title FROM notifications n
                     JOIN sends s ON s.id = n.send_id ORDER BY n.user_id, n."offset""#;
    let rows = sqlx::query(query).fetch_all(database).await.unwrap();
    let mut stored = HashMap::new();
    let mut titles: HashSet<(String, String)> = HashSet::new();
    let mut heads: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let (user, id): (String, String) = (row.get("user_id"), row.get("id"));
        let (offset, title): (i64, String) = (row.get("offset"), row.get("title"));
        if !titles.insert((user.clone(), title.clone())) {
            found.shown_twice += 1;
            found.violated("I2", format!("{title} appears twice in the inbox of {user}"));
        }
        let head = heads.entry(user.clone()).or_default();
        *head += 1;
        if *head != offset {
            found.order_violations += 1;
            found.violated("I3", format!("the inbox of {user} has offset {offset} instead of {head}"));
            *head = offset;
        }
        stored.insert((user, id), Stored { offset, title });
    }
    stored
}

impl Found {
    fn check_accepted(&mut self, accepted: &[Sent], stored: &HashMap<(String, String), Stored>, devices: &[Device]) {
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
            if promised.is_empty() || !durable {
                self.violated("I9", format!("a 2xx answer promised no durable notifications: {}", sent.answer));
            }
            for (user, id) in promised {
                self.accepted += 1;
                let shown = screens.iter().filter(|(owner, _)| *owner == user).all(|(_, shown)| shown.contains(&id));
                let key = (user, id);
                if !stored.contains_key(&key) || !shown {
                    self.lost += 1;
                    let missing_from = if shown { "the database" } else { "a device" };
                    self.violated(
                        "I1",
                        format!("{} to {} is missing from {missing_from}", sent.request["title"], key.0),
                    );
                }
            }
        }
    }

    fn check_device(&mut self, device: &Device, stored: &HashMap<(String, String), Stored>) {
        let seen = device.seen.lock().unwrap();
        self.frames += seen.frames.values().sum::<usize>();
        self.duplicate_frames += seen.frames.values().map(|count| count - 1).sum::<usize>();
        for error in &seen.errors {
            self.order_violations += 1;
            self.violated("I3", format!("a device of {}: {error}", device.user));
        }
        let (shown, all) = (seen.shown.len(), stored.keys().filter(|(user, _)| *user == device.user).count());
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
            match stored.get(&(device.user.clone(), id.clone())) {
                Some(stored) if stored.offset == *offset && stored.title == *title => {}
                _ => self.violated("I5", format!("{title} is shown to {} but is not in its inbox", device.user)),
            }
            let (sender, n) = title.rsplit_once('/').unwrap_or((title, "0"));
            let n: usize = n.parse().unwrap_or_default();
            let previous = latest.insert(sender.to_owned(), n);
            if *offset <= before || previous.is_some_and(|previous| previous >= n) {
                self.order_violations += 1;
                self.violated("I3", format!("{title} at offset {offset} is shown to {} after {before}", device.user));
            }
            before = *offset;
        }
    }

    /// Reports work that still waits in the record.
    async fn check_nothing_waits(&mut self, database: &PgPool) {
        let waiting = "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                            + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(database).await.unwrap();
        if waiting > 0 {
            self.violated("I8", format!("{waiting} rows and chunks still wait in the database"));
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
