//! What two common designs lose under the same faults. It also proves that this harness detects loss. Both designs
//! answer 2xx as soon as Redis has the notification, and a worker writes it to the database. They are small programs in
//! this file, not part of Carillon.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult, cmd};
use sqlx::PgPool;

use crate::random::Random;
use crate::testbed::{Testbed, pause};

/// How many entries a worker takes at a time.
const BATCH: usize = 20;
const QUEUE: &str = "baseline";
const GROUP: &str = "workers";

/// How notifications get from Redis to the database.
#[derive(Clone, Copy, PartialEq)]
enum Design {
    /// A Redis list: push, pop, write.
    List,
    /// A Redis stream with a consumer group: add, read, write, acknowledge. Entries that a dead worker had read are
    /// read again.
    Stream,
}

/// A Redis list with pop, as older services use it.
pub(crate) async fn list(testbed: &mut Testbed) {
    run_design(testbed, Design::List).await;
}

/// A Redis stream first, and a worker that writes to the database.
pub(crate) async fn stream(testbed: &mut Testbed) {
    run_design(testbed, Design::Stream).await;
}

/// A few seconds of load while workers are killed and Redis is killed, emptied and restarted.
async fn run_design(testbed: &mut Testbed, design: Design) {
    sqlx::query("CREATE TABLE kept (id text PRIMARY KEY)").execute(&testbed.database).await.unwrap();
    let (accepted, running) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(true)));
    let port = testbed.redis.port;
    let senders: Vec<_> = (0..4)
        .map(|sender| tokio::spawn(send(design, port, sender, Arc::clone(&accepted), Arc::clone(&running))))
        .collect();
    let work = || tokio::spawn(work(design, port, testbed.database.clone()));
    let (mut worker, random) = (work(), Random::new(testbed.seed));
    for round in 0..16 {
        pause(100 + random.below(300) as u64).await;
        worker.abort();
        if round == 7 {
            // Everything that waits in Redis is gone before the next worker starts.
            pause(300).await;
            testbed.servers.redis.is_wiped();
        } else if round == 9 {
            testbed.servers.redis.is_back();
        }
        worker = work();
    }
    running.store(false, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    // Entries that are still queued are not lost: let the worker finish.
    let length = if design == Design::List { "LLEN" } else { "XLEN" };
    let mut rounds = 0..600;
    while testbed.servers.redis.answers::<usize>(&[length, QUEUE]) != Ok(0) {
        assert!(rounds.next().is_some(), "the worker does not finish its queue");
        pause(100).await;
    }
    // The last batch has left the queue and may still be in flight to the database.
    pause(300).await;
    worker.abort();
    let kept: Vec<String> = sqlx::query_scalar("SELECT id FROM kept").fetch_all(&testbed.database).await.unwrap();
    let kept: HashSet<String> = kept.into_iter().collect();
    let accepted = accepted.lock().unwrap();
    let lost = accepted.iter().filter(|id| !kept.contains(*id)).count();
    testbed.set_baseline(accepted.len(), lost);
}

async fn connection(port: u16) -> MultiplexedConnection {
    loop {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        if let Ok(connection) = client.get_multiplexed_async_connection().await {
            return connection;
        }
        pause(20).await;
    }
}

/// Pushes ids one after the other, each until Redis has taken it, which is what a 2xx of these designs means.
async fn send(design: Design, port: u16, sender: usize, accepted: Arc<Mutex<Vec<String>>>, running: Arc<AtomicBool>) {
    let (mut redis, mut n) = (connection(port).await, 0);
    while running.load(Ordering::Relaxed) {
        let id = format!("{sender}/{n}");
        let pushed: RedisResult<()> = match design {
            Design::List => redis.lpush(QUEUE, &id).await,
            Design::Stream => cmd("XADD").arg(&[QUEUE, "*", "id", &id]).exec_async(&mut redis).await,
        };
        match pushed {
            Ok(()) => {
                accepted.lock().unwrap().push(id);
                n += 1;
            }
            Err(_) => redis = connection(port).await,
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
}

/// Writes queued entries to the database until it is killed.
async fn work(design: Design, port: u16, database: PgPool) {
    let mut redis = connection(port).await;
    loop {
        let done = match design {
            Design::List => work_list(&mut redis, &database).await,
            Design::Stream => work_stream(&mut redis, &database).await,
        };
        match done {
            Ok(0) => pause(20).await,
            Ok(_) => {}
            Err(_) => redis = connection(port).await,
        }
    }
}

async fn work_list(redis: &mut MultiplexedConnection, database: &PgPool) -> RedisResult<usize> {
    let batch: Vec<String> = redis.rpop(QUEUE, std::num::NonZeroUsize::new(BATCH)).await?;
    for id in &batch {
        store(database, id).await;
    }
    Ok(batch.len())
}

/// The answer of XREADGROUP: for each stream its entries, each an id with its fields.
type Read = Vec<(String, Vec<(String, Vec<String>)>)>;

async fn work_stream(redis: &mut MultiplexedConnection, database: &PgPool) -> RedisResult<usize> {
    // The group exists already, or Redis was emptied and needs it again.
    let _: RedisResult<()> = cmd("XGROUP").arg(&["CREATE", QUEUE, GROUP, "0", "MKSTREAM"]).exec_async(redis).await;
    let (batch, mut done) = (BATCH.to_string(), 0);
    // First the entries that a dead worker of the same name had read, then new ones.
    for from in ["0", ">"] {
        let arguments = ["GROUP", GROUP, "worker", "COUNT", &batch, "STREAMS", QUEUE, from];
        let (answer, mut read): (Option<Read>, _) =
            (cmd("XREADGROUP").arg(&arguments).query_async(redis).await?, Vec::new());
        for (entry, fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
            store(database, &fields[1]).await;
            read.push(entry);
        }
        if !read.is_empty() {
            // Atomic: a worker killed in between would leave an entry that no worker reads again.
            let mut finished = redis::pipe();
            finished.atomic().cmd("XACK").arg(&[QUEUE, GROUP]).arg(&read).cmd("XDEL").arg(QUEUE).arg(&read);
            finished.exec_async(redis).await?;
            done += read.len();
        }
    }
    Ok(done)
}

async fn store(database: &PgPool, id: &str) {
    let stored =
        sqlx::query("INSERT INTO kept (id) VALUES ($1) ON CONFLICT DO NOTHING").bind(id).execute(database).await;
    stored.unwrap();
}
