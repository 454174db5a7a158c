//! Postgres is killed, hung and cut off, its rows are locked, and its transactions fail. No send is accepted without it, and
//! afterwards nothing that was accepted is missing.

use std::time::{Duration, Instant};

use harness::conversation::Said;
use sqlx::{Executor, PgPool};

use crate::sender::Attempt;
use crate::steps::{self, Failure, Target};
use crate::talk::{self, EVERYONE, OTHERS, PAIR, Way};
use crate::testbed::{Testbed, pause};

/// The longest time until a refusal: the timeout for a connection plus the timeout for an answer on it.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
/// The longest time until a call is refused that waits for a lock, and a little more.
const LOCKED_WITHIN: Duration = Duration::from_millis(3_000 + 1_500);
/// One in so many statements loses against one that only it sees: rarely enough that a call never loses each of its
/// attempts.
const LOSING: i64 = 10;

/// F24: committed data survives. Meanwhile every call is refused and no send is accepted.
pub(crate) async fn killed(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    for _ in 0..2 {
        testbed.servers.postgres.is_killed();
        // Answers to sends that were committed before may still be on their way.
        pause(500).await;
        let from = Instant::now();
        pause(1_000).await;
        let promised = testbed.calls_with_status(from, Instant::now(), |status| (200..300).contains(&status));
        testbed.require(promised == 0, format!("{promised} sends were accepted without a database"));
        testbed.servers.postgres.is_back();
        testbed.run_for(1.5).await;
    }
    testbed.end_fault();
}

/// F26: Postgres accepts connections and queries but does not answer. Callers are refused in time, and afterwards
/// everything works as before.
pub(crate) async fn hung(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    testbed.servers.postgres.hangs();
    testbed.run_for(12.0).await;
    testbed.servers.postgres.goes_on();
    testbed.end_fault();
    testbed.run_for(1.0).await;
    let longest =
        |attempts: &[Attempt]| attempts.iter().filter(|call| call.at + call.took >= from).map(|call| call.took).max();
    let longest = longest(&testbed.service.log.attempts.lock().unwrap())
        .max(longest(&testbed.talked.attempts.lock().unwrap()))
        .unwrap_or_default();
    testbed.note(format!("the longest wait for an answer was {:.1} s", longest.as_secs_f64()));
    testbed.require(longest <= REFUSED_WITHIN, format!("a call took {longest:?}, more than {REFUSED_WITHIN:?}"));
}

/// F27: the connection to Postgres breaks at every step of a send and of a message, before the request or before its answer
/// arrives.
pub(crate) async fn cut_at_every_step(testbed: &mut Testbed) {
    let cut = steps::fail_send(testbed, Target::Postgres, Failure::Disconnect).await;
    let chats = steps::fail_message(testbed, Target::Postgres, Failure::Disconnect).await;
    testbed.note(format!("send lost its connection to Postgres at {cut} steps, chats at {chats}"));
    testbed.require(cut.min(chats) > 1, "send or chats never called Postgres");
    testbed.end_fault();
}

/// F28: the backends of Postgres are terminated repeatedly.
pub(crate) async fn terminated(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let mut ended = 0;
    for _ in 0..30 {
        ended += testbed.terminate_backends().await;
        pause(150).await;
    }
    testbed.end_fault();
    testbed.require(ended > 0, "no backend was terminated");
    testbed.note(format!("terminated {ended} backends"));
}

/// F30: another transaction holds the row of one chat for 10 s. Messages to it are refused until then, and nothing else waits.
pub(crate) async fn chat_locked(testbed: &mut Testbed) {
    testbed.run_for(3.0).await;
    let calm = testbed.accept_ms(testbed.started_at, Instant::now());
    let from = Instant::now();
    let locking = tokio::spawn(lock_chat(testbed.database.clone(), testbed.chats[EVERYONE].id.clone(), 10.0));
    pause(500).await;
    // Those who write there anyway may be answered only when it is over; this one asks again and again.
    let (writer, message, asked_at) = (testbed.writer(EVERYONE, 5), talk::message("locked/0"), Instant::now());
    let (mut refused, mut longest) = (0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        let (status, answer) = writer.attempt(&message, Way::Http, true).await;
        if status == 201 {
            testbed.talked.said.lock().unwrap().push(Said::read(&answer, asked_at));
            break;
        }
        refused += 1;
        longest = longest.max(asked.elapsed());
        testbed.require(status == 503, format!("a message to the locked chat was answered {status}"));
    }
    locking.await.unwrap();
    let to = Instant::now();
    testbed.end_fault();
    // A fast accept needs no lock: only what gives it its place waits.
    testbed.require(refused > 0 || testbed.accepts_fast, "no message was refused although its chat was locked");
    // On a slow machine, where even calm calls take long, a refusal does so too: it takes several steps of a call.
    let bound = LOCKED_WITHIN + Duration::from_secs_f64(4.0 * calm[1] / 1_000.0);
    testbed.require(
        longest <= bound,
        format!("a refusal took {:.1} s, more than {:.1} s", longest.as_secs_f64(), bound.as_secs_f64()),
    );
    let elsewhere = testbed.messages_elsewhere(&[PAIR, OTHERS], from, to);
    let [p50, p99] = testbed.accept_ms(from, to);
    testbed.note(format!(
        "refused {refused} messages to the locked chat, after at most {:.1} s; {elsewhere} messages to other chats were \
         accepted meanwhile, and sends in p50/p99 {p50:.0}/{p99:.0} ms ({:.0}/{:.0} before)",
        longest.as_secs_f64(),
        calm[0],
        calm[1]
    ));
    testbed.require(elsewhere > 0, "no message to another chat was accepted meanwhile");
    let refused = testbed.refusals(from, to, |kind, _| kind == "send");
    testbed.require_no_refusal(&refused, "because a chat was locked");
}

/// Holds a chat's row for this many seconds.
pub(crate) async fn lock_chat(database: PgPool, chat: String, seconds: f64) {
    let mut transaction = database.begin().await.unwrap();
    sqlx::query("SELECT FROM chats WHERE id = $1::uuid FOR UPDATE")
        .bind(chat)
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("SELECT pg_sleep($1)").bind(seconds).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

/// F31: appends are rolled back because of deadlocks and serialization failures. They are attempted again, and no sender
/// learns of it.
pub(crate) async fn transactions_lost(testbed: &mut Testbed) {
    // A deadlock is found by who has waited for this long: a function long before the test.
    let soon = format!("ALTER DATABASE \"{}\" SET deadlock_timeout = '200ms'", testbed.name);
    testbed.database.execute(sqlx::AssertSqlSafe(soon)).await.unwrap();
    testbed.terminate_backends().await;
    testbed.run_for(1.5).await;
    let from = Instant::now();
    let mut deadlocks = 0;
    for _ in 0..15 {
        deadlocks += usize::from(cross(&testbed.database, &testbed.chats[EVERYONE].id).await);
        // Who waited gets through before the next one: a chat that stays locked refuses (F30).
        pause(300).await;
    }
    let lose = format!(
        "CREATE SEQUENCE statements;
         CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('statements') % {LOSING} = 0 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END IF;
             RETURN NULL;
         END $$"
    );
    testbed.database.execute(sqlx::AssertSqlSafe(lose)).await.unwrap();
    on_each_table(testbed, |table| {
        format!("CREATE TRIGGER lose AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION lose()")
    })
    .await;
    testbed.run_for(5.0).await;
    let lost = testbed.count("SELECT last_value FROM statements").await / LOSING;
    on_each_table(testbed, |table| format!("DROP TRIGGER lose ON {table}")).await;
    testbed.database.execute("DROP FUNCTION lose(); DROP SEQUENCE statements").await.unwrap();
    testbed.end_fault();
    testbed.note(format!("{deadlocks} deadlocks, {lost} serialization failures"));
    testbed.require(deadlocks > 0 && lost > 0, "no transaction was lost");
    let refused = testbed.refusals_since(from);
    testbed.require_no_refusal(&refused, "because of lost transactions");
}

/// Performs a statement on each table whose writers are to lose. Each is a transaction, which has no lock while it waits for one:
/// otherwise it would be part of a deadlock itself.
async fn on_each_table(testbed: &Testbed, statement: impl Fn(&str) -> String) {
    for table in ["messages", "chat_members", "notifications"] {
        testbed.database.execute(sqlx::AssertSqlSafe(statement(table))).await.unwrap();
    }
}

/// Locks a chat and then its members, the other way round than functions do, as soon as a function waits for the chat. Returns
/// whether that function gave way.
async fn cross(database: &PgPool, chat: &str) -> bool {
    let mut transaction = database.begin().await.unwrap();
    transaction.execute("SET LOCAL deadlock_timeout = '1s'").await.unwrap();
    let lock = sqlx::query("SELECT FROM chats WHERE id = $1::uuid FOR UPDATE").bind(chat);
    lock.execute(&mut *transaction).await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                 WHERE application_name = 'carillon' AND wait_event_type = 'Lock'
                                   AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))";
    let started = Instant::now();
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut *transaction).await.unwrap() {
        if started.elapsed() > Duration::from_secs(1) {
            return false;
        }
        pause(5).await;
    }
    let members = sqlx::query("SELECT FROM chat_members WHERE chat_id = $1::uuid FOR UPDATE").bind(chat);
    let is_through = members.execute(&mut *transaction).await.is_ok();
    let _ = transaction.rollback().await;
    is_through
}
