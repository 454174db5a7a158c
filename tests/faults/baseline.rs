//! What the usual designs lose under the same faults, and that this harness can see loss: each answers 2xx as soon as
//! Redis has it, and a worker writes it to the database. Not Carillon: small programs of this file.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult, cmd};
use sqlx::PgPool;

use crate::dice::Dice;
use crate::stage::{Stage, pause};

/// How many entries a worker takes at once.
const BATCH: usize = 20;
const QUEUE: &str = "baseline";
const GROUP: &str = "workers";

/// A design.
#[derive(Clone, Copy, PartialEq)]
enum Design {
    /// A list: pushed, popped, written.
    List,
    /// A stream with a group: added, read, written, acknowledged. What a dead worker had read is read again.
    Stream,
}

/// A list with pop, as in the older services.
pub(crate) async fn list(stage: &mut Stage) {
    loses(stage, Design::List).await;
}

/// Redis first, the database by a worker.
pub(crate) async fn stream(stage: &mut Stage) {
    loses(stage, Design::Stream).await;
}

/// Some seconds of work while workers are killed, Redis killed and emptied, and back again.
async fn loses(stage: &mut Stage, design: Design) {
    sqlx::query("CREATE TABLE kept (id text PRIMARY KEY)").execute(&stage.database).await.unwrap();
    let (accepted, goes_on) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(true)));
    let port = stage.redis.port;
    let senders: Vec<_> = (0..4)
        .map(|sender| tokio::spawn(send(design, port, sender, Arc::clone(&accepted), Arc::clone(&goes_on))))
        .collect();
    let work = || tokio::spawn(work(design, port, stage.database.clone()));
    let (mut worker, dice) = (work(), Dice::new(stage.seed));
    for round in 0..16 {
        pause(100 + dice.below(300) as u64).await;
        worker.abort();
        if round == 7 {
            // Before the next worker begins, whatever waited for it is gone.
            pause(300).await;
            stage.servers.redis.is_wiped();
        } else if round == 9 {
            stage.servers.redis.is_back();
        }
        worker = work();
    }
    goes_on.store(false, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    // What still waits is not lost.
    let length = if design == Design::List { "LLEN" } else { "XLEN" };
    let mut rounds = 0..600;
    while stage.servers.redis.answers::<usize>(&[length, QUEUE]) != Ok(0) {
        assert!(rounds.next().is_some(), "the worker does not get to the end of its queue");
        pause(100).await;
    }
    // What is written at this very moment.
    pause(300).await;
    worker.abort();
    let kept: Vec<String> = sqlx::query_scalar("SELECT id FROM kept").fetch_all(&stage.database).await.unwrap();
    let kept: HashSet<String> = kept.into_iter().collect();
    let accepted = accepted.lock().unwrap();
    let lost = accepted.iter().filter(|id| !kept.contains(*id)).count();
    stage.is_baseline(accepted.len(), lost);
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

/// Sends each key until Redis has taken it, which is what its 2xx means.
async fn send(design: Design, port: u16, sender: usize, accepted: Arc<Mutex<Vec<String>>>, goes_on: Arc<AtomicBool>) {
    let (mut redis, mut n) = (connection(port).await, 0);
    while goes_on.load(Ordering::Relaxed) {
        let id = format!("{sender}/{n}");
        let taken: RedisResult<()> = match design {
            Design::List => redis.lpush(QUEUE, &id).await,
            Design::Stream => cmd("XADD").arg(&[QUEUE, "*", "id", &id]).exec_async(&mut redis).await,
        };
        match taken {
            Ok(()) => {
                accepted.lock().unwrap().push(id);
                n += 1;
            }
            Err(_) => redis = connection(port).await,
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
}

/// Writes what is queued, until it is killed.
async fn work(design: Design, port: u16, database: PgPool) {
    let mut redis = connection(port).await;
    loop {
        let done = match design {
            Design::List => pops(&mut redis, &database).await,
            Design::Stream => reads(&mut redis, &database).await,
        };
        match done {
            Ok(0) => pause(20).await,
            Ok(_) => {}
            Err(_) => redis = connection(port).await,
        }
    }
}

async fn pops(redis: &mut MultiplexedConnection, database: &PgPool) -> RedisResult<usize> {
    let batch: Vec<String> = redis.rpop(QUEUE, std::num::NonZeroUsize::new(BATCH)).await?;
    for id in &batch {
        keeps(database, id).await;
    }
    Ok(batch.len())
}

/// What XREADGROUP answers: entries, each an id with its fields, by stream.
type Read = Vec<(String, Vec<(String, Vec<String>)>)>;

async fn reads(redis: &mut MultiplexedConnection, database: &PgPool) -> RedisResult<usize> {
    // It is there already, or it is made again after Redis was emptied.
    let _: RedisResult<()> = cmd("XGROUP").arg(&["CREATE", QUEUE, GROUP, "0", "MKSTREAM"]).exec_async(redis).await;
    let (batch, mut done) = (BATCH.to_string(), 0);
    // First what a dead worker of this name had read, then what is new.
    for from in ["0", ">"] {
        let asked = ["GROUP", GROUP, "worker", "COUNT", &batch, "STREAMS", QUEUE, from];
        let (answer, mut read): (Option<Read>, _) =
            (cmd("XREADGROUP").arg(&asked).query_async(redis).await?, Vec::new());
        for (entry, fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
            keeps(database, &fields[1]).await;
            read.push(entry);
        }
        if !read.is_empty() {
            // Both or neither: one killed in between would leave an entry that nobody reads again.
            let mut finished = redis::pipe();
            finished.atomic().cmd("XACK").arg(&[QUEUE, GROUP]).arg(&read).cmd("XDEL").arg(QUEUE).arg(&read);
            finished.exec_async(redis).await?;
            done += read.len();
        }
    }
    Ok(done)
}

async fn keeps(database: &PgPool, id: &str) {
    let kept = sqlx::query("INSERT INTO kept (id) VALUES ($1) ON CONFLICT DO NOTHING").bind(id).execute(database).await;
    kept.unwrap();
}
