//! What is true afterwards: the services' log, the devices and the database compared.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{PgPool, Row};

use crate::device::{Device, Shown};
use crate::sender::Sent;

/// What the comparison found.
#[derive(Default)]
pub(crate) struct Found {
    /// Notifications that a 2xx promised.
    pub(crate) accepted: usize,
    /// Those of them whose 2xx said that they are committed.
    pub(crate) durable: usize,
    /// Those of them that the database, or a device of their user, does not have.
    pub(crate) lost: usize,
    pub(crate) frames: usize,
    pub(crate) duplicate_frames: usize,
    pub(crate) shown_twice: usize,
    pub(crate) order_violations: usize,
    /// Sentences about what broke an invariant, a few of each kind.
    pub(crate) violations: Vec<String>,
}

/// A row of an inbox.
struct Stored {
    offset: i64,
    title: String,
}

/// Compares them. I1: what was accepted is in the database and on every device of its user. I2: nothing is shown twice.
/// I3: offsets have no gaps, devices show in their order, and each service's sends in the order in which it sent them.
/// I5: a device shows what is in its user's inbox and nothing else. I8: nothing waits any more.
pub(crate) async fn compare(database: &PgPool, accepted: &[Sent], devices: &[Device]) -> Found {
    let mut found = Found::default();
    let stored = stored(database, &mut found).await;
    found.promises(accepted, &stored, devices);
    for device in devices {
        found.screen(device, &stored);
    }
    found.rest(database).await;
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
            found.breaks("I2", format!("{title} stands twice in the inbox of {user}"));
        }
        let head = heads.entry(user.clone()).or_default();
        *head += 1;
        if *head != offset {
            found.order_violations += 1;
            found.breaks("I3", format!("the inbox of {user} has {offset} where {head} should be"));
            *head = offset;
        }
        stored.insert((user, id), Stored { offset, title });
    }
    stored
}

impl Found {
    fn promises(&mut self, accepted: &[Sent], stored: &HashMap<(String, String), Stored>, devices: &[Device]) {
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
                self.breaks("I9", format!("a 2xx promised nothing: {}", sent.answer));
            }
            for (user, id) in promised {
                self.accepted += 1;
                let shown = screens.iter().filter(|(of, _)| *of == user).all(|(_, shown)| shown.contains(&id));
                let key = (user, id);
                if !stored.contains_key(&key) || !shown {
                    self.lost += 1;
                    let place = if shown { "the database" } else { "a device" };
                    self.breaks("I1", format!("{} of {} is not in {place}", sent.asked["title"], key.0));
                }
            }
        }
    }

    fn screen(&mut self, device: &Device, stored: &HashMap<(String, String), Stored>) {
        let seen = device.seen.lock().unwrap();
        self.frames += seen.frames.values().sum::<usize>();
        self.duplicate_frames += seen.frames.values().map(|count| count - 1).sum::<usize>();
        for wrong in &seen.wrong {
            self.order_violations += 1;
            self.breaks("I3", format!("a device of {}: {wrong}", device.user));
        }
        let (shown, all) = (seen.shown.len(), stored.keys().filter(|(user, _)| *user == device.user).count());
        if shown != all {
            self.breaks("I1", format!("a device of {} shows {shown} of {all}", device.user));
        }
        let mut titles = HashSet::new();
        let mut latest: HashMap<String, usize> = HashMap::new();
        let mut before = 0;
        for Shown { offset, id, title, .. } in &seen.shown {
            if !titles.insert(title) {
                self.shown_twice += 1;
                self.breaks("I2", format!("{title} is shown twice to {}", device.user));
            }
            match stored.get(&(device.user.clone(), id.clone())) {
                Some(stored) if stored.offset == *offset && stored.title == *title => {}
                _ => self.breaks("I5", format!("{title} is shown to {} and is not his", device.user)),
            }
            let (sender, n) = title.rsplit_once('/').unwrap_or((title, "0"));
            let n: usize = n.parse().unwrap_or_default();
            let previous = latest.insert(sender.to_owned(), n);
            if *offset <= before || previous.is_some_and(|previous| previous >= n) {
                self.order_violations += 1;
                self.breaks("I3", format!("{title} at {offset} is shown to {} after {before}", device.user));
            }
            before = *offset;
        }
    }

    /// What still waits in the record.
    async fn rest(&mut self, database: &PgPool) {
        let waiting = "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                            + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(database).await.unwrap();
        if waiting > 0 {
            self.breaks("I8", format!("{waiting} still wait in the record"));
        }
    }

    /// Notes it, unless enough of its kind are.
    pub(crate) fn breaks(&mut self, invariant: &str, how: String) {
        const ENOUGH: usize = 3;
        if self.violations.iter().filter(|noted| noted.starts_with(invariant)).count() < ENOUGH {
            self.violations.push(format!("{invariant}: {how}"));
        }
    }
}
