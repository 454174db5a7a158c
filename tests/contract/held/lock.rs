//! Somebody beside the store who holds what its acts need.

use std::pin::Pin;
use std::task::{Context, Poll};

use shared::error::StoreError;
use shared::ids::UserId;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::model::Outcome;
use crate::record::Record;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Where the inbox stands.
    Inbox,
    /// Its notifications.
    Rows,
    /// All sends that there are.
    Sends,
}

/// A lock beside a store.
pub(super) trait Lock {
    /// What can be held apart from one another.
    const KINDS: &[Which];

    async fn hold(&mut self, which: Which, user: &UserId);

    /// Returns once each of these acts waits or has ended.
    async fn until_waiting(&mut self, acts: &[&Begun]);

    async fn release(&mut self);
}

/// An act that goes on by itself.
pub(super) struct Begun {
    ends: JoinHandle<Result<Outcome, StoreError>>,
    /// Whether it has begun and could not end at once.
    waits: watch::Receiver<bool>,
}

impl Begun {
    pub(super) fn new(act: impl Future<Output = Result<Outcome, StoreError>> + Send + 'static) -> Self {
        let (sender, waits) = watch::channel(false);
        let mut act = Box::pin(act);
        let ends = tokio::spawn(std::future::poll_fn(move |context| {
            let polled = act.as_mut().poll(context);
            let _ = sender.send(polled.is_pending());
            polled
        }));
        Self { ends, waits }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ends.is_finished()
    }

    async fn waits(&self) {
        // The sender is gone where it ended.
        let _ = self.waits.clone().wait_for(|waits| *waits).await;
    }
}

impl Future for Begun {
    type Output = Result<Outcome, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.ends).poll(context).map(Result::unwrap)
    }
}

/// A second connection to the file: whoever writes waits for it.
pub(super) struct InSqlite(SqliteConnection);

impl InSqlite {
    pub(super) async fn open() -> (Record, Self, TempDir) {
        let (record, folder) = crate::stores::sqlite().await;
        let file = folder.path().join("carillon.db");
        let connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        (record, Self(connection), folder)
    }
}

impl Lock for InSqlite {
    // The whole file.
    const KINDS: &[Which] = &[Which::Inbox];

    async fn hold(&mut self, _: Which, _: &UserId) {
        self.0.execute("BEGIN IMMEDIATE").await.unwrap();
    }

    async fn until_waiting(&mut self, acts: &[&Begun]) {
        for act in acts {
            act.waits().await;
        }
    }

    async fn release(&mut self) {
        self.0.execute("COMMIT").await.unwrap();
    }
}

/// Two further sessions: one holds rows, the other sees who waits for them.
pub(super) struct InPostgres {
    holds: PgConnection,
    watches: PgConnection,
}

impl InPostgres {
    pub(super) async fn open() -> (Record, Self, ()) {
        let url = harness::postgres_server::database().await;
        let connect = || PgConnection::connect(url.reveal());
        let (holds, watches) = (connect().await.unwrap(), connect().await.unwrap());
        (Record::new(PostgresRecord::new(&url, 8).unwrap()), Self { holds, watches }, ())
    }
}

impl Lock for InPostgres {
    const KINDS: &[Which] = &[Which::Inbox, Which::Rows, Which::Sends];

    async fn hold(&mut self, which: Which, user: &UserId) {
        self.holds.execute("BEGIN").await.unwrap();
        let lock = match which {
            Which::Inbox => "SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE",
            Which::Rows => "SELECT FROM notifications WHERE user_id = $1 FOR UPDATE",
            Which::Sends => "SELECT FROM sends WHERE $1 <> '' FOR UPDATE",
        };
        let held = sqlx::query(lock).bind(user.as_str()).execute(&mut self.holds).await.unwrap();
        assert!(held.rows_affected() > 0);
    }

    async fn until_waiting(&mut self, acts: &[&Begun]) {
        loop {
            let going_on = acts.iter().filter(|act| !act.has_ended()).count();
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut self.watches)
            .await
            .unwrap();
            if usize::try_from(waiting).unwrap() >= going_on {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn release(&mut self) {
        self.holds.execute("COMMIT").await.unwrap();
    }
}
