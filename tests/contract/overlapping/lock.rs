//! Holds locks that the actions of a store need, from connections of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use shared::error::StoreError;
use shared::ids::UserId;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::model::Outcome;
use crate::record::Record;

/// What a lock covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The row of the inbox.
    Inbox,
    /// The rows of its notifications.
    Rows,
    /// All sends in the database.
    Sends,
}

/// A lock on a store's data, held outside the store.
pub(super) trait Lock {
    /// What can be locked separately.
    const TARGETS: &[Target];

    async fn hold(&mut self, target: Target, user: &UserId);

    /// Returns once each of these actions waits for the lock or has ended.
    async fn until_waiting(&mut self, actions: &[&Running]);

    async fn release(&mut self);
}

/// An action that runs in a task of its own.
pub(super) struct Running {
    task: JoinHandle<Result<Outcome, StoreError>>,
    /// Whether it has been polled and is pending.
    is_pending: watch::Receiver<bool>,
}

impl Running {
    pub(super) fn new(action: impl Future<Output = Result<Outcome, StoreError>> + Send + 'static) -> Self {
        let (sender, is_pending) = watch::channel(false);
        let mut action = Box::pin(action);
        let task = tokio::spawn(std::future::poll_fn(move |context| {
            let polled = action.as_mut().poll(context);
            let _ = sender.send(polled.is_pending());
            polled
        }));
        Self { task, is_pending }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    async fn until_pending(&self) {
        // The channel closes when the action ends.
        let _ = self.is_pending.clone().wait_for(|pending| *pending).await;
    }
}

impl Future for Running {
    type Output = Result<Outcome, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context).map(Result::unwrap)
    }
}

/// A second connection to the file: every writer waits for its transaction.
pub(super) struct SqliteLock(rusqlite::Connection);

impl SqliteLock {
    pub(super) async fn open() -> (Record, Self, TempDir) {
        let (record, folder) = crate::stores::sqlite().await;
        let connection = crate::stores::sqlite_connection(&folder.path().join("carillon.db"));
        (record, Self(connection), folder)
    }
}

impl Lock for SqliteLock {
    // A transaction locks the whole file, whatever the target is.
    const TARGETS: &[Target] = &[Target::Inbox];

    async fn hold(&mut self, _: Target, _: &UserId) {
        self.0.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    async fn until_waiting(&mut self, actions: &[&Running]) {
        for action in actions {
            action.until_pending().await;
        }
    }

    async fn release(&mut self) {
        self.0.execute_batch("COMMIT").unwrap();
    }
}

/// Two further sessions: one holds locks, the other counts the sessions that wait for them.
pub(super) struct PostgresLock {
    holder: PgConnection,
    observer: PgConnection,
}

impl PostgresLock {
    pub(super) async fn open() -> (Record, Self, ()) {
        let url = harness::postgres_server::database().await;
        let connect = || PgConnection::connect(url.reveal());
        let (mut holder, observer) = (connect().await.unwrap(), connect().await.unwrap());
        // The role has the timeouts of a function, which must not end the lock.
        holder.execute("SET idle_in_transaction_session_timeout = 0").await.unwrap();
        (Record::new(PostgresRecord::new(&url, 8).unwrap()), Self { holder, observer }, ())
    }
}

impl Lock for PostgresLock {
    const TARGETS: &[Target] = &[Target::Inbox, Target::Rows, Target::Sends];

    async fn hold(&mut self, target: Target, user: &UserId) {
        self.holder.execute("BEGIN").await.unwrap();
        let lock = match target {
            Target::Inbox => "SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE",
            Target::Rows => "SELECT FROM notifications WHERE user_id = $1 FOR UPDATE",
            Target::Sends => "SELECT FROM sends WHERE $1 <> '' FOR UPDATE",
        };
        let held = sqlx::query(lock).bind(user.as_str()).execute(&mut self.holder).await.unwrap();
        assert!(held.rows_affected() > 0);
    }

    async fn until_waiting(&mut self, actions: &[&Running]) {
        loop {
            let unfinished = actions.iter().filter(|action| !action.has_ended()).count();
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut self.observer)
            .await
            .unwrap();
            if usize::try_from(waiting).unwrap() >= unfinished {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn release(&mut self) {
        self.holder.execute("COMMIT").await.unwrap();
    }
}
