//! Rows: how long the acts of calls and of the drain take, by the number of notifications that are stored.

use std::sync::Arc;
use std::time::Instant;

use harness::START_MS;
use harness::postgres_server::{self, PostgresServer, without_timeout};
use serde_json::value::RawValue;
use shared::clock::At;
use shared::ids::{NotificationId, SendId, UserId, Uuid};
use shared::inbox::bounds::Bounds;
use shared::inbox::notification::{Channels, Content, Priority};
use shared::inbox::send::Due;
use shared::inbox::sends::{Append, Appended};
use shared::inbox::{Change, Page};
use shared::record::Record;
use shared::record::postgres::PostgresRecord;

use super::{connecting, count, p50_and_p99, sizes, timed};
use crate::report::{figure, number};

/// The numbers of notifications.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many notifications each user has.
const EACH: usize = 10;
/// How often each act is done.
const REPEATS: usize = 300;
/// How many rows the drain takes at once, and how often.
const TAKEN: usize = 100;
const TAKES: usize = 20;
const NOW: At = At::Fixed(START_MS);

pub(super) async fn measure() {
    for rows in sizes(&SIZES) {
        // With a server of its own, whose folder is removed with it.
        let server = PostgresServer::start();
        let database = server.database().await;
        let filled = without_timeout(&database);
        let began = Instant::now();
        for statement in fill(rows) {
            postgres_server::does(&filled, &statement).await;
        }
        let filling = began.elapsed();
        let record = Record::new(Arc::new(PostgresRecord::new(&database, 1).unwrap()));
        let acts = Acts { record, rows };
        let how = "notifications and what belongs to them, with all indexes, vacuumed and analysed";
        figure(&acts.named("filled"), number(filling.as_secs_f64(), 1), "s", how);
        acts.send(1).await;
        acts.send(200).await;
        acts.read_inboxes().await;
        acts.mark_as_read().await;
        acts.take_due().await;
    }
}

/// The statements that fill the tables. Of every tenth user the first notification is due to be pushed.
fn fill(rows: usize) -> [String; 5] {
    let users = rows / EACH;
    [
        format!(
            "INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, priority, created_at, due_at,
                                keep_until)
             SELECT lpad(n::text, 32, '0')::uuid, 'shop', '', repeat('answer ', 50), 'started', 'T' || n % 20, 'Hi',
                    repeat('body ', 20), '{{}}', 'normal', {START_MS} - n, {START_MS} - n, {START_MS} + 7776000000
               FROM generate_series(0, {rows} / 4) n"
        ),
        format!(
            "INSERT INTO inboxes (user_id, epoch, head, unread)
             SELECT 'user-' || n, epoch, {EACH}, {EACH} FROM epoch, generate_series(0, {users} - 1) n"
        ),
        connecting(users),
        format!(
            "INSERT INTO notifications (user_id, \"offset\", version, id, send_id, type, created_at, push_at)
             SELECT 'user-' || n % {users}, 1 + n / {users}, 1 + n / {users}, lpad(n::text, 32, '0')::uuid,
                    lpad((n / 4)::text, 32, '0')::uuid, 'T' || n / 4 % 20, {START_MS} - n,
                    CASE WHEN n < {users} AND n % 10 = 0 THEN {START_MS} - n END
               FROM generate_series(0, {rows} - 1) n"
        ),
        "VACUUM ANALYZE".to_owned(),
    ]
}

struct Acts {
    record: Record,
    rows: usize,
}

impl Acts {
    fn named(&self, what: &str) -> String {
        format!("{} rows: {what}", count(self.rows))
    }

    /// A user, another one for each number.
    fn user(&self, n: usize) -> UserId {
        UserId::new(format!("user-{}", n % (self.rows / EACH))).unwrap()
    }

    async fn send(&self, recipients: usize) {
        let sender = UserId::new("shop").unwrap();
        let content = Arc::new(Content {
            kind: "T1".into(),
            title: "Your order is on its way".into(),
            body: Some("It arrives tomorrow before noon, says the carrier.".into()),
            data: RawValue::from_string("{}".into()).unwrap(),
            action_url: None,
            priority: Priority::Normal,
            expires_at: None,
            collapse_key: None,
            channels: Channels::All,
            digest_ms: None,
            trace: None,
        });
        // Each once, also where there are fewer.
        let recipients = recipients.min(self.rows / EACH);
        let mut taken = Vec::new();
        for n in 0..REPEATS {
            let users: Vec<UserId> = (0..recipients).map(|m| self.user(n * 7_919 + m)).collect();
            let append = Append {
                id: SendId::random(),
                sender: &sender,
                fingerprint: [0; 32],
                content: Arc::clone(&content),
                recipients: &users,
                answer: "{}",
                due: Due::Now,
                retention_ms: 7_776_000_000,
            };
            let appended = timed(&mut taken, self.record.sends.append(&append, NOW)).await.unwrap();
            assert!(matches!(appended, Appended::Stored(_)), "WRONG");
        }
        let how = format!("stored by the record, p50 / p99; {REPEATS} times");
        figure(&self.named(&format!("send to {}", count(recipients))), p50_and_p99(&taken), "ms", &how);
    }

    async fn read_inboxes(&self) {
        let (mut listed, mut counted) = (Vec::new(), Vec::new());
        let page = Page { before: None, bounds: Bounds::items(50), kind: None, unread: false };
        for n in 0..REPEATS {
            let user = self.user(n * 7_919);
            let list = timed(&mut listed, self.record.inbox.list(&user, &page, NOW)).await.unwrap();
            let position = timed(&mut counted, self.record.inbox.position(&user, NOW)).await.unwrap();
            assert!(list.notifications.len() >= EACH && position.unread >= EACH as i64, "WRONG");
        }
        let how = format!("p50 / p99; {REPEATS} users");
        figure(&self.named("list of an inbox"), p50_and_p99(&listed), "ms", &how);
        figure(&self.named("unread count"), p50_and_p99(&counted), "ms", &how);
    }

    async fn mark_as_read(&self) {
        let mut taken = Vec::new();
        for n in 0..REPEATS {
            // Another one each time, since 7,919 is prime.
            let row = n * 7_919 % self.rows;
            let ids = vec![NotificationId::from_uuid(Uuid::parse_str(&format!("{row:032}")).unwrap())];
            let (user, change) = (self.user(row), Change::Read(ids));
            let changed = timed(&mut taken, self.record.inbox.change(&user, &change, NOW)).await.unwrap();
            assert_eq!(changed.unwrap().ids.len(), 1, "WRONG");
        }
        let how = format!("of one notification, p50 / p99; {REPEATS} times");
        figure(&self.named("mark as read"), p50_and_p99(&taken), "ms", &how);
    }

    async fn take_due(&self) {
        let (mut taken, mut rows) = (Vec::new(), 0);
        for _ in 0..TAKES {
            let due = timed(&mut taken, self.record.deliveries.take_due(TAKEN, NOW)).await.unwrap();
            if due.is_empty() {
                // The last one took none.
                taken.pop();
                break;
            }
            rows += due.deliveries.len();
        }
        let how = format!("{TAKEN} at once as far as there are so many, {} in all, p50 / p99", count(rows));
        figure(&self.named("take due rows"), p50_and_p99(&taken), "ms", &how);
    }
}
