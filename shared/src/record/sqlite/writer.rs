//! The connection that writes, in a thread of its own. It runs one act after the other; those that wait at the same time
//! share a transaction, and so a write to the disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::statement::execute;
use crate::error::StoreError;

/// How many acts share a transaction at most.
const MAX_ACTS: usize = 128;
/// After how many changed rows no further act joins a transaction, so that a small act does not wait for many large ones.
const MAX_CHANGES: u64 = 2_000;
/// How long an act waits for its turn. Later its caller has given up or is about to.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

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
            // In this order: a caller that waits for the end may open the file at once.
            drop(connection);
            drop(held);
            drop(closed);
        })?;
        Ok(Self { tasks })
    }

    /// Runs an act that changes nothing if it fails. Returns once it is committed; if that fails, it is unknown whether it
    /// is. If the caller stops waiting, an act that has begun is completed, and one that has not is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (waiting, answered) = Waiting::new(act);
        // If the thread has ended, both channels are closed.
        let _ = self.tasks.send(Task::Run(Box::new(waiting)));
        match answered.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(unavailable("the record is closed").into()),
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
    /// Whether its caller has stopped waiting.
    fn is_abandoned(&self) -> bool;

    /// Does it, or nothing if it fails.
    fn run(&mut self, db: &Connection);

    /// Tells the caller, given how the transaction ended.
    fn end(self: Box<Self>, transaction: &Result<(), StoreError>);
}

/// An act whose caller waits.
struct Waiting<T, F> {
    act: Option<F>,
    until: Instant,
    outcome: Option<Outcome<T>>,
    caller: oneshot::Sender<Outcome<T>>,
}

/// What an act returned, or how it panicked.
type Outcome<T> = thread::Result<Result<T, Failure>>;

impl<T, F> Waiting<T, F> {
    fn new(act: F) -> (Self, oneshot::Receiver<Outcome<T>>) {
        let (caller, answered) = oneshot::channel();
        (Self { act: Some(act), until: Instant::now() + TURN_TIMEOUT, outcome: None, caller }, answered)
    }
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, Failure> + Send> Act for Waiting<T, F> {
    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn run(&mut self, db: &Connection) {
        self.outcome = match self.act.take() {
            Some(act) if Instant::now() <= self.until => Some(in_savepoint(db, act)),
            _ => Some(Ok(Err(StoreError::Overloaded("other acts took too long".into()).into()))),
        };
    }

    fn end(self: Box<Self>, transaction: &Result<(), StoreError>) {
        let outcome = match (self.outcome, transaction) {
            // An act that was not run, or whose result rests on acts that are not committed.
            (None | Some(Ok(Ok(_))), Err(error)) => Ok(Err(error.clone().into())),
            (Some(Ok(Err(failure))), Err(error)) if matches!(failure.error(), StoreError::Refused(_)) => {
                Ok(Err(error.clone().into()))
            }
            (Some(outcome), _) => outcome,
            (None, Ok(())) => return,
        };
        // The caller may have gone.
        let _ = self.caller.send(outcome);
    }
}

fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.into())
}

/// Runs acts until it is told to end; returns whom to tell that it has, if it was told.
fn run_until_closed(db: &Connection, tasks: &Receiver<Task>) -> Option<oneshot::Sender<()>> {
    while let Ok(first) = tasks.recv() {
        let (mut next, mut acts) = (Some(first), Vec::new());
        let changes_before = db.total_changes();
        let begun = begin(db);
        let closed = loop {
            match next {
                Some(Task::Run(act)) if act.is_abandoned() => {}
                Some(Task::Run(mut act)) => {
                    if begun.is_ok() {
                        act.run(db);
                    }
                    acts.push(act);
                }
                Some(Task::Close { closed }) => break Some(closed),
                None => break None,
            }
            let may_join = match begun {
                // A failure such as a full disk ends the transaction, and with it all acts before.
                Ok(()) if db.is_autocommit() => false,
                Ok(()) => acts.len() < MAX_ACTS && db.total_changes() - changes_before < MAX_CHANGES,
                // All that wait fail together, so that none waits for another's turn to fail.
                Err(_) => true,
            };
            next = if may_join { tasks.try_recv().ok() } else { None };
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
    // After a commit and a rollback that failed.
    roll_back(db);
    execute(db, "BEGIN IMMEDIATE", [])?;
    Ok(())
}

fn commit(db: &Connection) -> Result<(), StoreError> {
    if db.is_autocommit() {
        return Err(unavailable("a failure undid the transaction"));
    }
    let committed = execute(db, "COMMIT", []).map_err(StoreError::from);
    roll_back(db);
    committed.map(drop).map_err(|error| StoreError::OutcomeUnknown(error.to_string()))
}

/// Ends a transaction that is open, and all acts in it.
fn roll_back(db: &Connection) {
    if !db.is_autocommit()
        && let Err(failure) = execute(db, "ROLLBACK", [])
    {
        tracing::error!(error = %failure.error(), "a transaction could not be undone");
    }
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
    if ended.is_err() {
        // Otherwise the transaction might commit what the caller is told has failed.
        roll_back(db);
    }
    match (ended, outcome) {
        (Err(failure), Ok(_)) => Ok(Err(failure)),
        (_, outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
                let (waiting, answered) = Waiting::new(act);
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
        assert!(told.iter().all(|outcome| matches!(outcome, Ok(Err(StoreError::OutcomeUnknown(_))))));
        assert!(is_done(&run(&db, vec![stores("d")])[0]));
        assert_eq!(texts(&db), ["d"]);
    }

    #[test]
    fn a_database_that_another_process_has_locked_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Connection::open(folder.path().join("carillon.db")).unwrap();
        let (holder, db) = (open(), open());
        holder.execute_batch("CREATE TABLE texts (text TEXT, place INTEGER); BEGIN IMMEDIATE").unwrap();
        static WAITS: AtomicUsize = AtomicUsize::new(0);
        let count = |_| {
            WAITS.fetch_add(1, Ordering::Relaxed);
            false
        };
        db.busy_handler(Some(count)).unwrap();
        let told = run(&db, vec![stores("a"), stores("b")]);
        assert!(told.iter().all(|outcome| matches!(outcome, Ok(Err(StoreError::Unavailable(_))))));
        // They fail together, and not each in its turn.
        assert_eq!(WAITS.load(Ordering::Relaxed), 1);
        holder.execute_batch("COMMIT").unwrap();
        assert!(is_done(&run(&db, vec![stores("c")])[0]));
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
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("carillon.db");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let writer = Writer::start(connection, ()).unwrap();
        let (stored, ()) = tokio::join!(writer.run(stores("a")), writer.close());
        assert!(stored.is_ok());
        let refused = writer.run(stores("b")).await.map_err(StoreError::from);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        writer.close().await;
        assert_eq!(texts(&Connection::open(&file).unwrap()), ["a"]);
    }

    #[test]
    fn a_refusal_that_rests_on_an_act_that_is_not_committed_is_no_refusal() {
        let db = database();
        let loses_all: Write = Box::new(|db| Ok(db.execute_batch("ROLLBACK")?));
        let told = run(&db, vec![fails_after(stores("a")), loses_all]);
        assert!(matches!(told[0], Ok(Err(StoreError::Unavailable(_)))));
    }

    #[test]
    fn an_act_is_left_out_if_its_caller_has_gone_or_waited_too_long() {
        let (db, (tasks, received)) = (database(), mpsc::channel());
        let (abandoned, _) = Waiting::new(stores("a"));
        let (late, mut answered) = Waiting::new(stores("b"));
        let late = Waiting { until: Instant::now() - Duration::from_millis(1), ..late };
        tasks.send(Task::Run(Box::new(abandoned))).unwrap();
        tasks.send(Task::Run(Box::new(late))).unwrap();
        drop(tasks);
        run_until_closed(&db, &received);
        let told = answered.try_recv().unwrap().unwrap().map_err(StoreError::from);
        assert!(matches!(told, Err(StoreError::Overloaded(_))));
        assert_eq!(texts(&db), [""; 0]);
    }
}
