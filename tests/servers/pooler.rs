//! Postgres behind a pooler that hands its connections from transaction to transaction.

use std::sync::Arc;

use futures_util::future::join_all;
use harness::{World, pgbouncer, postgres_server, tools};
use shared::clock::{At, Clock};
use shared::config::Pooler;
use shared::delivery::deliveries::Deliveries;
use shared::ids::{SendId, UserId};
use shared::inbox::Inbox;
use shared::inbox::sends::Sends;
use shared::record::postgres::PostgresRecord;

/// A statement is prepared in one request and executed in the next. If both are not in one transaction, the pooler may
/// give the connection to another client in between, and that client's statement is executed instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_of_concurrent_clients_are_not_mixed_up() {
    if tools::is_skipped("pgbouncer") {
        return;
    }
    let database = pgbouncer::pooled(&postgres_server::database().await);
    let record = Arc::new(PostgresRecord::new(&database, 8).unwrap().behind(Pooler::Transaction));
    let clients = (0..16).map(|client| {
        let record = Arc::clone(&record);
        tokio::spawn(async move {
            let user = UserId::new(format!("user {client}")).unwrap();
            for n in 0..40 {
                match (client + n) % 3 {
                    0 => assert_eq!(record.position(&user, At::Server).await.unwrap().head, 0),
                    1 => assert_eq!(record.next_due().await.unwrap().first(), None),
                    _ => {
                        let unknown = SendId::of_key(&user, "/api/notifications/send", "none");
                        assert!(record.first_answer(unknown).await.unwrap().is_none());
                    }
                }
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_behind_a_pooler_serves_and_tells_its_health() {
    if tools::is_skipped("pgbouncer") {
        return;
    }
    let database = pgbouncer::pooled(&postgres_server::database().await);
    let variables = [("DATABASE_URL", database.reveal()), ("DATABASE_POOLER", "transaction")];
    let world = World::on(&variables, Clock::system()).await;
    let mut device = world.user("alice").connects().await;
    world.service("shop").rings(&["alice"], "by way of the pooler").await;
    device.sees("by way of the pooler").await;
    let health = world.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!(health["schema"]["found"], health["schema"]["needed"], "{health}");
    world.stops().await;
}
