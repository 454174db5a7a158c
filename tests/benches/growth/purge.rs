//! Purging: how fast sends go that need not be kept any longer, and how long one call takes, by how many there are. The drain
//! ends each of its runs with such calls.

use std::sync::Arc;
use std::time::Instant;

use harness::START_MS;
use harness::postgres_server::{self, PostgresServer, without_timeout};
use shared::clock::At;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;

use super::{count, sizes, timed};
use crate::report::{figure, in_ms, number, percentile};

/// The numbers of old sends.
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// How many calls at the beginning and at the end are compared.
const COMPARED: usize = 10;
const RETENTION_MS: i64 = 7_776_000_000;

pub(super) async fn measure() {
    for size in sizes(&SIZES) {
        let server = PostgresServer::start();
        let database = server.database().await;
        for statement in [fill(size), "VACUUM ANALYZE".to_owned()] {
            postgres_server::does(&without_timeout(&database), &statement).await;
        }
        let record = Record::new(Arc::new(PostgresRecord::new(&database, 1).unwrap()));
        purge(&record, size).await;
    }
}

/// Sends of which nothing is left but a chunk that is done, as many younger ones, and the chunks of both.
fn fill(size: usize) -> String {
    format!(
        "INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, priority, created_at, due_at,
                            keep_until)
         SELECT lpad(n::text, 32, '0')::uuid, 'shop', '', repeat('answer ', 50), 'started', 'T', 'Hi', repeat('body ', 20), '{{}}',
                'normal', n, n, CASE WHEN n < {size} THEN {START_MS} - n ELSE {START_MS} + n END
           FROM generate_series(0::bigint, 2 * {size} - 1) n;
         INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
         SELECT lpad(n::text, 32, '0')::uuid, 1, '[\"alice\"]', n, 'materialised'
           FROM generate_series(0, 2 * {size} - 1) n"
    )
}

async fn purge(record: &Record, size: usize) {
    let (mut taken, mut sends, began) = (Vec::new(), 0, Instant::now());
    loop {
        let purged = timed(&mut taken, record.retention.purge(RETENTION_MS, At::Fixed(START_MS))).await.unwrap();
        sends += purged.sends;
        if !purged.may_have_more() {
            break;
        }
    }
    let rate = sends as f64 / began.elapsed().as_secs_f64();
    assert_eq!(sends, size, "WRONG");
    let ms = in_ms(&taken);
    let named = |what: &str| format!("purge, {} old sends: {what}", count(size));
    figure(&named("rate"), number(rate, 0), "sends/s", "1,000 with each call; as many younger ones are kept");
    figure(&named("longest call"), number(percentile(&ms, 1.0), 0), "ms", "three statements, each limited to 5 s");
    for (what, some) in [("first calls", &ms[..COMPARED]), ("last calls", &ms[ms.len() - COMPARED..])] {
        figure(&named(what), number(percentile(some, 0.5), 1), "ms", &format!("the median of {COMPARED}"));
    }
}
