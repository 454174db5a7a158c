//! Passwords in Secrets Manager: they are replaced under load, and no call is refused. One that cannot be used stops the start.

use std::time::{Duration, Instant};

use harness::postgres_server::{self, PostgresServer};
use harness::redis_server::RedisServer;
use harness::secrets_manager::{Kept, SecretsManager};
use harness::{Caller, Listener, World};
use serde_json::json;
use shared::clock::Clock;

use crate::load::Load;
use crate::startup::is_refused;
use crate::stores::{PREFIX, assert_health, health, is_healthy_within};

const RECOVERY: Duration = Duration::from_secs(5);

/// These variables, and those by which secrets are read here.
fn with_access<'a>(access: &'a [(&'static str, String)], variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let access = access.iter().map(|(name, value)| (*name, value.as_str()));
    access.chain(variables.iter().copied()).collect()
}

/// A gateway with these variables and limits that no test reaches.
async fn gateway(manager: &SecretsManager, variables: &[(&str, &str)]) -> World {
    let (access, limits) = (manager.access(), [("RATE_LIMIT_SEND", "100000/1s"), ("RATE_LIMIT_FRAMES", "100000/1s")]);
    World::on(&[&with_access(&access, variables)[..], &limits].concat(), Clock::system()).await
}

/// What a rotation of RDS keeps in a secret.
fn credentials(user: &str, password: &str) -> String {
    json!({"engine": "postgres", "username": user, "password": password, "port": 5432}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_of_postgres_is_taken_up_under_load() {
    let (mut server, redis, manager) = (PostgresServer::start(), RedisServer::start(), SecretsManager::start().await);
    let owner = server.database().await;
    postgres_server::does(&owner, "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'first'").await;
    let secret = manager.keeps_text("database", &credentials("guarded", "first"));
    let (url, password) = (owner.reveal().replace("postgres@", "guarded@"), format!("{secret}#password"));
    let redis_url = format!("redis://127.0.0.1:{}", redis.port());
    let variables = [("DATABASE_URL", url.as_str()), ("DATABASE_PASSWORD", &password), ("REDIS_URL", &redis_url)];
    let world = gateway(&manager, &variables).await;
    is_healthy_within(&world, RECOVERY).await;
    world.service("shop").rings(&["alice"], "before").await;
    assert_eq!(manager.reads(), 1);

    manager.keeps_text("database", &credentials("guarded", "second"));
    postgres_server::does(&owner, "ALTER ROLE guarded PASSWORD 'second'").await;
    // It sends more at once than there are connections, so further ones have to be made.
    let mut load = Load::on(&world, false).await;
    load.continues_for(200).await;
    assert_eq!(manager.reads(), 2);
    load.ends().await.arrived(&world).await;

    // Every connection is made anew.
    server.is_killed();
    server.is_back();
    is_healthy_within(&world, RECOVERY).await;
    assert_eq!(manager.reads(), 2);
    world.stops().await;
}

#[tokio::test]
async fn a_role_that_is_still_refused_does_not_cost_a_read_for_each_call() {
    let (server, manager) = (PostgresServer::start(), SecretsManager::start().await);
    let owner = server.database().await;
    postgres_server::does(&owner, "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right'").await;
    let secret = manager.keeps_text("database", &credentials("guarded", "right"));
    let (url, password) = (owner.reveal().replace("postgres@", "guarded@"), format!("{secret}#password"));
    let world = gateway(&manager, &[("DATABASE_URL", &url), ("DATABASE_PASSWORD", &password)]).await;
    let alice = world.user("alice");
    alice.gets("/api/notifications").await.expect(200);

    // Apart, since both together are one transaction: until it ends, the role may still log in.
    postgres_server::does(&owner, "ALTER ROLE guarded NOLOGIN").await;
    let ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'guarded'";
    postgres_server::does(&owner, ended).await;
    let began = Instant::now();
    for _ in 0..20 {
        alice.gets("/api/notifications").await.expect(503);
    }
    assert_health(health(&world).await, (503, "down", "down", "off"));
    let reads = manager.reads() - 1;
    assert!(reads >= 1 && reads <= 2 + began.elapsed().as_secs() as usize / 5, "{reads}");
    postgres_server::does(&owner, "ALTER ROLE guarded LOGIN").await;
    alice.gets("/api/notifications").await.expect(200);
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_of_redis_is_taken_up_under_load() {
    let (redis, manager) = (RedisServer::start(), SecretsManager::start().await);
    let database = postgres_server::database().await;
    redis.does(&["ACL", "SETUSER", "carillon", "on", ">first", "~*", "&*", "+@all"]);
    let secret = manager.keeps_text("redis", &credentials("carillon", "first"));
    let (url, password) = (format!("redis://carillon@127.0.0.1:{}", redis.port()), format!("{secret}#password"));
    let variables = [
        ("DATABASE_URL", database.reveal()),
        ("REDIS_URL", &url),
        ("REDIS_PASSWORD", &password),
        ("REDIS_KEY_PREFIX", PREFIX),
    ];
    let world = gateway(&manager, &variables).await;
    is_healthy_within(&world, RECOVERY).await;
    let alice = world.user("alice");
    let since = alice.cursor().await;
    let mut stream = listens(&world, &alice, &since).await;
    let mut load = Load::on(&world, false).await;
    load.continues_for(50).await;
    assert_eq!(manager.reads(), 1);

    manager.keeps_text("redis", &credentials("carillon", "second"));
    redis.does(&["ACL", "SETUSER", "carillon", "resetpass", ">second"]);
    redis.does(&["CLIENT", "KILL", "USER", "carillon"]);
    load.continues_for(100).await;
    is_healthy_within(&world, RECOVERY).await;
    // Another link may be refused later, which reads it once more.
    assert!((2..=4).contains(&manager.reads()), "{}", manager.reads());
    world.service("bank").rings(&["alice"], "after").await;
    let mut event = stream.hears_one_of(&["notification", "reconnect"]).await;
    if event["type"] == "reconnect" {
        // The push came before the stream had subscribed again, which ends it: its client comes back.
        event = listens(&world, &alice, &since).await.hears("notification").await;
    }
    assert_eq!(event["notification"]["title"], "after");
    load.ends().await.arrived(&world).await;
    world.stops().await;
}

/// Opens an event stream after this cursor.
async fn listens(world: &World, user: &Caller, since: &str) -> Listener {
    let query = format!("?ticket={}&since={since}", user.ticket().await);
    Listener::open(world.address(), &query, &[]).await.unwrap()
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_stops_the_start() {
    let manager = SecretsManager::start().await;
    manager.keeps("binary", Kept::Binary);
    manager.keeps("forbidden", Kept::Forbidden);
    let (text, object) = (manager.keeps_text("text", "hunter2"), manager.keeps_text("object", r#"{"url":"hunter2"}"#));
    let access = manager.access();
    for (variable, secret, names, why) in [
        (
            "DATABASE_URL",
            "arn:aws:secretsmanager:hunter2".to_owned(),
            "DATABASE_URL must",
            "arn:aws:secretsmanager:REGION",
        ),
        ("DATABASE_URL", manager.arn("absent"), "DATABASE_URL names the secret absent-AbCdEf", "does not exist"),
        ("REDIS_URL", manager.arn("forbidden"), "REDIS_URL names the secret forbidden-AbCdEf", "may not read"),
        ("JWT_SECRET", manager.arn("binary"), "JWT_SECRET names the secret binary-AbCdEf", "is binary"),
        ("REDIS_PASSWORD", format!("{text}#url"), "REDIS_PASSWORD names the secret text-AbCdEf", "not a JSON object"),
        ("REDIS_PASSWORD", format!("{object}#x"), "REDIS_PASSWORD names the secret object-AbCdEf", "has no member x"),
        ("DATABASE_URL", format!("{object}#url"), "DATABASE_URL must be postgres://", "from the secret object-AbCdEf"),
        ("REDIS_URL", text.clone(), "REDIS_URL must begin with redis://", "from the secret text-AbCdEf"),
        ("JWT_SECRET", text.clone(), "JWT_SECRET must be at least 32 bytes long", "from the secret text-AbCdEf"),
    ] {
        let variables = with_access(&access, &[(variable, &secret)]);
        is_refused(&["--port", "0"], &variables, names, why).await;
    }
    let without_access = [("JWT_SECRET", text.as_str())];
    is_refused(&["--port", "0"], &without_access, "JWT_SECRET names the secret", "without AWS_ACCESS_KEY_ID").await;
}
