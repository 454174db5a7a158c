//! The connection that writes, in a thread of its own. It runs one act after the other; those that wait at the same time
//! share a transaction, and so a write to the disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::statement::execute;
use crate::error::StoreError;

/// How many acts share a transaction at most.
const MAX_SHARED: usize = 128;
/// After how many changed rows no further act joins a transaction, so that a small act does not wait for many large ones.
const MAX_CHANGES: u64 = 2_000;

/// Runs acts, in the order in which they come.
#[derive(Debug)]
pub(super) struct Writer {
    tasks: Sender<Task>,
}

enum Task {
    Run(Box<dyn Act>),
    Close { closed: oneshot::Sender<()> },
}

impl Writer {
    /// Takes the connection into a thread of its own, with what is held for as long as the thread runs. The thread ends
    /// when the writer is closed or dropped.
    pub(super) fn start(connection: Connection, held: impl Send + 'static) -> std::io::Result<Self> {
        let (tasks, received) = mpsc::channel();
        thread::Builder::new().name("sqlite writer".into()).spawn(move || {
            let closed = run_until_closed(&connection, &received);
            // In this order: who waits for the end opens the file anew.
            drop(connection);
            drop(held);
            drop(closed);
        })?;
        Ok(Self { tasks })
    }

    /// Runs an act that is undone if it fails. Returns once it is committed; if that fails, it is unknown whether it is.
    /// An act that has begun is also completed if nobody waits for it any longer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (caller, answered) = oneshot::channel();
        let waiting = Waiting { act: Some(act), outcome: None, caller };
        // If the thread has ended, both channels are closed.
        let _ = self.tasks.send(Task::Run(Box::new(waiting)));
        match answered.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(StoreError::Unavailable("the record is closed".into()).into()),
        }
    }

    /// Returns once all acts before have ended and the file is closed. Later ones fail.
    pub(super) async fn close(&self) {
        let (closed, ended) = oneshot::channel();
        let _ = self.tasks.send(Task::Close { closed });
        // Fails when the thread drops its end, or has ended before.
        let _ = ended.await;
    }
}

/// Something to do in a transaction that others share.
trait Act: Send {
    /// Does it, or nothing if it fails.
    fn run(&mut self, db: &Connection);

    /// Tells the caller, given how the transaction ended.
    fn end(self: Box<Self>, transaction: &Result<(), StoreError>);
}

/// An act whose caller waits.
struct Waiting<T, F> {
    act: Option<F>,
    outcome: Option<Outcome<T>>,
    caller: oneshot::Sender<Outcome<T>>,
}

/// What an act returned, or how it panicked.
type Outcome<T> = thread::Result<Result<T, Failure>>;

impl<T: Send, F: FnOnce(&Connection) -> Result<T, Failure> + Send> Act for Waiting<T, F> {
    fn run(&mut self, db: &Connection) {
        self.outcome = self.act.take().map(|act| in_savepoint(db, act));
    }

    fn end(self: Box<Self>, transaction: &Result<(), StoreError>) {
        let Self { outcome, caller, .. } = *self;
        let outcome = match (outcome, transaction) {
            (Some(Ok(Ok(_))) | None, Err(error)) => Ok(Err(error.clone().into())),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => return,
        };
        // The caller may have gone.
        let _ = caller.send(outcome);
    }
}

/// Runs acts until it is told to end; returns who told it, if anybody did.
fn run_until_closed(db: &Connection, tasks: &Receiver<Task>) -> Option<oneshot::Sender<()>> {
    while let Ok(first) = tasks.recv() {
        let (mut next, mut acts) = (Some(first), Vec::new());
        let changes_before = db.total_changes();
        let begun = begin(db);
        let closed = loop {
            match next {
                Some(Task::Run(mut act)) => {
                    if begun.is_ok() {
                        act.run(db);
                    }
                    acts.push(act);
                }
                Some(Task::Close { closed }) => break Some(closed),
                None => break None,
            }
            let is_full = acts.len() >= MAX_SHARED || db.total_changes() - changes_before >= MAX_CHANGES;
            // A failure such as a full disk ends the transaction, and with it all acts before.
            next = if is_full || db.is_autocommit() { None } else { tasks.try_recv().ok() };
        };
        let ended = begun.and_then(|()| commit(db));
        for act in acts {
            act.end(&ended);
        }
        if closed.is_some() {
            return closed;
        }
    }
    None
}

fn begin(db: &Connection) -> Result<(), StoreError> {
    execute(db, "BEGIN IMMEDIATE", [])?;
    Ok(())
}

fn commit(db: &Connection) -> Result<(), StoreError> {
    if db.is_autocommit() {
        return Err(StoreError::Unavailable("a failure undid the transaction".into()));
    }
    let committed = execute(db, "COMMIT", []).map_err(StoreError::from);
    if !db.is_autocommit() {
        // Otherwise the next one could not begin.
        execute(db, "ROLLBACK", [])?;
    }
    committed.map(drop).map_err(|error| StoreError::OutcomeUnknown(error.to_string()))
}

/// Runs an act so that it changes nothing if it fails.
fn in_savepoint<T>(db: &Connection, act: impl FnOnce(&Connection) -> Result<T, Failure>) -> Outcome<T> {
    if let Err(failure) = execute(db, "SAVEPOINT act", []) {
        return Ok(Err(failure));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| act(db)));
    let ended = match outcome {
        Ok(Ok(_)) => execute(db, "RELEASE act", []),
        // The transaction is gone, and the savepoint with it.
        _ if db.is_autocommit() => Ok(0),
        _ => execute(db, "ROLLBACK TO act", []).and_then(|_| execute(db, "RELEASE act", [])),
    };
    match (ended, outcome) {
        (Err(failure), Ok(_)) => Ok(Err(failure)),
        (_, outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sqlite::statement::{all, value};

    /// A table of texts, each of which must have its place by the end of its transaction.
    const SCHEMA: &str = "
        PRAGMA foreign_keys = ON;
        CREATE TABLE places (place INTEGER PRIMARY KEY);
        INSERT INTO places VALUES (1);
        CREATE TABLE texts (text TEXT, place INTEGER REFERENCES places DEFERRABLE INITIALLY DEFERRED)";

    type Write = Box<dyn FnOnce(&Connection) -> Result<(), Failure> + Send>;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db
    }

    fn texts(db: &Connection) -> Vec<String> {
        all(db, "SELECT text FROM texts ORDER BY text", [], value).unwrap()
    }

    /// Stores a text.
    fn stores(text: &'static str) -> Write {
        Box::new(move |db| execute(db, "INSERT INTO texts VALUES (?1, 1)", [text]).map(drop))
    }

    /// Does this, and fails afterwards.
    fn fails_after(write: Write) -> Write {
        Box::new(move |db| {
            write(db)?;
            Err(StoreError::Refused("by the test".into()).into())
        })
    }

    /// Runs acts that wait at the same time, until none is left; returns what each caller was told.
    fn run(db: &Connection, acts: Vec<Write>) -> Vec<thread::Result<Result<(), StoreError>>> {
        let (tasks, received) = mpsc::channel();
        let answers: Vec<_> = acts
            .into_iter()
            .map(|act| {
                let (caller, answered) = oneshot::channel();
                let waiting = Waiting { act: Some(act), outcome: None, caller };
                tasks.send(Task::Run(Box::new(waiting))).unwrap();
                answered
            })
            .collect();
        drop(tasks);
        assert!(run_until_closed(db, &received).is_none());
        let told = answers.into_iter().map(|mut answered| answered.try_recv().unwrap());
        told.map(|outcome| outcome.map(|result| result.map_err(StoreError::from))).collect()
    }

    fn is_done(outcome: &thread::Result<Result<(), StoreError>>) -> bool {
        matches!(outcome, Ok(Ok(())))
    }

    #[test]
    fn acts_that_wait_at_the_same_time_share_a_transaction() {
        let db = database();
        let sees_both: Write = Box::new(|db| {
            assert_eq!(texts(db), ["a", "b"]);
            // If it had been committed, a rollback would not undo it.
            assert!(!db.is_autocommit());
            db.execute_batch("ROLLBACK").map_err(Failure::from)
        });
        let told = run(&db, vec![stores("a"), stores("b"), sees_both]);
        assert!(told.iter().all(|outcome| matches!(outcome, Ok(Err(_)))));
        assert_eq!(texts(&db), [""; 0]);
    }

    #[test]
    fn an_act_that_fails_changes_nothing_and_the_others_are_stored() {
        let db = database();
        let told = run(&db, vec![stores("a"), fails_after(stores("b")), stores("c")]);
        assert!(is_done(&told[0]) && is_done(&told[2]));
        assert!(matches!(told[1], Ok(Err(StoreError::Refused(_)))));
        assert_eq!(texts(&db), ["a", "c"]);
    }

    #[test]
    fn a_panic_reaches_its_caller_and_only_its_act_is_undone() {
        let db = database();
        let panics: Write = Box::new(|db| {
            stores("b")(db)?;
            panic!("of the test");
        });
        let told = run(&db, vec![stores("a"), panics, stores("c")]);
        assert_eq!(told[1].as_ref().unwrap_err().downcast_ref(), Some(&"of the test"));
        assert!(is_done(&told[0]) && is_done(&told[2]));
        assert_eq!(texts(&db), ["a", "c"]);
    }

    #[test]
    fn a_failure_that_undoes_the_transaction_is_told_to_all_who_shared_it() {
        let db = database();
        // As SQLite does when the disk is full.
        let loses_all: Write = Box::new(|db| {
            db.execute_batch("ROLLBACK")?;
            Err(StoreError::Unavailable("the disk is full".into()).into())
        });
        let told = run(&db, vec![stores("a"), loses_all, stores("c")]);
        assert!(matches!(told[0], Ok(Err(StoreError::Unavailable(_)))));
        assert!(matches!(told[1], Ok(Err(StoreError::Unavailable(_)))));
        assert!(is_done(&told[2]));
        assert_eq!(texts(&db), ["c"]);
    }

    #[test]
    fn a_commit_that_fails_leaves_the_outcome_open_and_the_next_one_begins() {
        let db = database();
        let has_no_place: Write = Box::new(|db| execute(db, "INSERT INTO texts VALUES ('b', 2)", []).map(drop));
        let told = run(&db, vec![stores("a"), has_no_place, fails_after(stores("c"))]);
        assert!(told[..2].iter().all(|outcome| matches!(outcome, Ok(Err(StoreError::OutcomeUnknown(_))))));
        assert!(matches!(told[2], Ok(Err(StoreError::Refused(_)))));
        assert!(is_done(&run(&db, vec![stores("d")])[0]));
        assert_eq!(texts(&db), ["d"]);
    }

    #[test]
    fn a_database_that_another_process_has_locked_is_unavailable() {
        let file = std::env::temp_dir().join(format!("carillon-locked-{}.db", std::process::id()));
        let (holder, db) = (Connection::open(&file).unwrap(), Connection::open(&file).unwrap());
        holder.execute_batch("CREATE TABLE texts (text TEXT); BEGIN IMMEDIATE").unwrap();
        db.busy_timeout(std::time::Duration::ZERO).unwrap();
        let told = run(&db, vec![stores("a"), stores("b")]);
        assert!(told.iter().all(|outcome| matches!(outcome, Ok(Err(StoreError::Unavailable(_))))));
        drop((holder, db));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn acts_join_until_many_rows_have_changed() {
        let db = database();
        let changes: Write = Box::new(|db| {
            let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
                       INSERT INTO texts SELECT 'a', 1 FROM n";
            execute(db, sql, []).map(drop)
        });
        let loses_all: Write = Box::new(|db| db.execute_batch("ROLLBACK").map_err(Failure::from));
        let told = run(&db, vec![changes, loses_all]);
        assert!(is_done(&told[0]), "it was committed before");
        assert!(!is_done(&told[1]));
        assert_eq!(texts(&db).len(), 2_000);
    }

    #[tokio::test]
    async fn a_closed_writer_has_done_what_came_before_and_does_nothing_more() {
        let file = std::env::temp_dir().join(format!("carillon-closed-{}.db", std::process::id()));
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let writer = Writer::start(connection, ()).unwrap();
        let (stored, ()) = tokio::join!(writer.run(stores("a")), writer.close());
        assert!(stored.is_ok());
        let refused = writer.run(stores("b")).await.map_err(StoreError::from);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        writer.close().await;
        assert_eq!(texts(&Connection::open(&file).unwrap()), ["a"]);
        std::fs::remove_file(&file).unwrap();
    }
}
