//! `carillon doctor` names each mistake that is planted in a deployment that is otherwise sound, says what to do, and
//! shows no secret.

use std::collections::HashMap;
use std::process::Stdio;

use gateway::doctor::{Examination, examine};
use harness::identity_provider::{Behaviour, IdentityProvider, SigningKey};
use harness::redis_server::{RedisServer, free_address};
use harness::secrets_manager::{Kept, SecretsManager};
use harness::{World, binaries, pgbouncer, postgres_server, tools};
use serde_json::Value;
use shared::clock::Clock;
use shared::config::Secret;
use shared::doctor::finding::{Finding, State};
use tokio::process::Command;

/// A password that no finding may contain.
const PASSWORD: &str = "hunter2";
const SECRET: &str = "5f1b0e6a9c3d478812ab34cd56ef7890";

/// What is found with these variables. Asserts that each finding that is not ok says what to do, and none a password.
async fn found(variables: &[(&str, &str)]) -> Vec<Finding> {
    let data = tempfile::tempdir().unwrap();
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let examination: Examination = examine(&variables, data.path()).await;
    assert!(!examination.text().contains(PASSWORD) && !examination.json().contains(PASSWORD), "{}", examination.text());
    assert!(examination.findings.iter().all(|finding| finding.remedy.is_some() == (finding.state != State::Ok)));
    examination.findings
}

/// Asserts that a mistake is found: by the name of its check, as so severe, and with these words.
async fn finds(variables: &[(&str, &str)], check: &str, state: State, words: &str) {
    let found = found(variables).await;
    let is_it = |finding: &Finding| finding.check == check && finding.state == state && finding.what.contains(words);
    assert!(found.iter().any(is_it), "{check} {state:?} {words}: {found:#?}");
}

/// A database with the role of functions, a Redis, and a gateway whose sockets can be pushed to.
struct Deployment {
    /// For the role that owns everything.
    owner: Secret,
    database: Secret,
    redis: RedisServer,
    sockets: World,
}

impl Deployment {
    async fn new() -> Self {
        let owner = postgres_server::database().await;
        let database = postgres_server::as_functions(&owner).await;
        let sockets = World::on(&[], Clock::system()).await;
        Self { owner, database, redis: RedisServer::start(), sockets }
    }

    /// Its variables, with some of them replaced.
    fn with<'a>(&'a self, addresses: &'a Addresses, replaced: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut variables = vec![
            ("DATABASE_URL", self.database.reveal()),
            ("REDIS_URL", addresses.redis.as_str()),
            ("WS_ENDPOINT", addresses.endpoint.as_str()),
            ("JWT_SECRET", SECRET),
        ];
        variables.retain(|(name, _)| !replaced.iter().any(|(other, _)| other == name));
        variables.extend_from_slice(replaced);
        variables
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            redis: format!("redis://127.0.0.1:{}", self.redis.port()),
            endpoint: format!("http://{}/live", self.sockets.address()),
        }
    }
}

struct Addresses {
    redis: String,
    endpoint: String,
}

#[tokio::test]
async fn a_sound_deployment_has_no_problem() {
    let deployment = Deployment::new().await;
    let addresses = deployment.addresses();
    let found = found(&deployment.with(&addresses, &[])).await;
    assert!(found.iter().all(|finding| finding.state == State::Ok), "{found:#?}");
    for check in ["variables", "database", "migrations", "role", "redis", "tokens", "sockets"] {
        assert!(found.iter().any(|finding| finding.check == check), "{check}: {found:#?}");
    }
    deployment.sockets.stops().await;
}

#[tokio::test]
async fn mistakes_in_variables_are_found() {
    use State::{Problem, Warning};
    let deployment = Deployment::new().await;
    let addresses = deployment.addresses();
    let same = "1".repeat(32);
    for (replaced, check, state, words) in [
        (&[("JWT_SECRET", PASSWORD)][..], "JWT_SECRET", Problem, "at least 32 bytes"),
        (&[("JWT_SECRET", same.as_str())], "JWT_SECRET", Problem, "easily guessed"),
        (&[("JWT_SECERT", SECRET)], "JWT_SECERT", Warning, "is JWT_SECRET meant"),
        (&[("RETENTION_DAYS", PASSWORD)], "RETENTION_DAYS", Problem, "1 to 3650"),
        (&[("RATE_LIMIT_SEND", "much")], "RATE_LIMIT_SEND", Problem, "30/60s"),
        (&[("ACCEPT", "quick")], "ACCEPT", Problem, "durable or fast"),
        (&[("ALLOWED_ORIGINS", "https://*.example.com")], "ALLOWED_ORIGINS", Problem, "exact origins"),
        (&[("VAPID_SUBJECT", "mailto:ops@example.org")], "VAPID_PRIVATE_KEY", Problem, "is required"),
        (&[("ENV", "production"), ("ENABLE_TEST_ENDPOINTS", "true")], "ENABLE_TEST_ENDPOINTS", Problem, "production"),
        (&[("ENV", "production")], "WS_ENDPOINT", Problem, "begins with http://"),
        (&[("ENV", "production"), ("WS_URL", "ws://example.com/live")], "WS_URL", Problem, "begins with ws://"),
        (&[("ENV", "production")], "ALLOWED_ORIGINS", Warning, "no page"),
        (&[("ENV", "Production")], "ENV", Warning, "is not production"),
        (&[("DATABASE_URL", "mysql://u:hunter2@127.0.0.1/x")], "DATABASE_URL", Problem, "postgres://"),
        (&[("DATABASE_URL", "postgres://u:hunter2@h:port/x")], "DATABASE_URL", Problem, "percent-encoded"),
        (&[("REDIS_URL", "http://u:hunter2@127.0.0.1")], "REDIS_URL", Problem, "redis://"),
        (&[("REDIS_KEY_PREFIX", "{a}")], "REDIS_KEY_PREFIX", Problem, "without braces"),
        (&[("PRESENCE_LEASE_MS", "60000")], "PRESENCE_LEASE_MS", Problem, "PING_EVERY_MS"),
        (&[("PORT", PASSWORD)], "PORT", Problem, "0 to 65535"),
        (&[("WS_ENDPOINT", "https://127.0.0.1:1/live")], "sockets", Warning, "no AWS credentials"),
    ] {
        finds(&deployment.with(&addresses, replaced), check, state, words).await;
    }
    deployment.sockets.stops().await;
}

#[tokio::test]
async fn a_database_that_does_not_let_us_in_is_found() {
    let database = postgres_server::database().await;
    postgres_server::has_guarded_role(&database).await;
    let (server, _) = database.reveal().rsplit_once('/').unwrap();
    let refused = database.reveal().replace("postgres@", "guarded:hunter2@");
    for (url, words) in [
        (refused, "password authentication failed"),
        (format!("{server}/nowhere"), "\"nowhere\" does not exist"),
        (format!("postgres://u:hunter2@{}/x", free_address()), "connection refused"),
    ] {
        finds(&[("DATABASE_URL", &url)], "database", State::Problem, words).await;
    }
}

#[tokio::test]
async fn mistakes_in_a_database_are_found() {
    let deployment = Deployment::new().await;
    let Deployment { owner, database, .. } = &deployment;
    postgres_server::does(owner, "REVOKE INSERT ON sends FROM carillon_functions").await;
    let functions = [("DATABASE_URL", database.reveal())];
    finds(&functions, "role", State::Problem, "lacks rights: INSERT on sends").await;
    finds(&[("DATABASE_URL", owner.reveal())], "role", State::Warning, "superuser").await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of tomorrow', true, '', 0)";
    postgres_server::does(owner, newer).await;
    finds(&functions, "migrations", State::Warning, "9999").await;
    postgres_server::does(owner, "DELETE FROM _sqlx_migrations WHERE version = 3").await;
    finds(&functions, "migrations", State::Problem, "lacks migration 0003_expiry_and_collapse").await;
    let without_pooler = [functions[0], ("DATABASE_POOLER", "transaction")];
    finds(&without_pooler, "DATABASE_POOLER", State::Warning, "no pooler was noticed").await;
    deployment.sockets.stops().await;
}

#[tokio::test]
async fn a_pooler_that_the_configuration_does_not_know_of_is_found() {
    if tools::is_skipped("pgbouncer") {
        return;
    }
    let database = pgbouncer::pooled(&postgres_server::database().await);
    let url = ("DATABASE_URL", database.reveal());
    finds(&[url], "DATABASE_POOLER", State::Problem, "does not track prepared statements").await;
    finds(&[url, ("DATABASE_POOLER", "transaction")], "DATABASE_POOLER", State::Ok, "fits the pooler").await;
}

#[tokio::test]
async fn a_redis_that_does_not_let_us_in_is_found() {
    finds(&[("REDIS_URL", &format!("redis://:hunter2@{}", free_address()))], "redis", State::Problem, "refused").await;
    let server = RedisServer::with(&["--requirepass", "right"]);
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    finds(&[("REDIS_URL", &url)], "redis", State::Problem, "redis-1 cannot be used").await;

    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">hunter2", "~other:*", "&*", "+@all"]);
    let url = format!("redis://carillon:hunter2@127.0.0.1:{}", server.port());
    finds(&[("REDIS_URL", &url)], "redis", State::Problem, "NOPERM").await;
}

#[tokio::test]
async fn mistakes_in_a_redis_are_found() {
    let mut server = RedisServer::start();
    let url = format!("redis://127.0.0.1:{}", server.port());
    let own = ("REDIS_URL", url.as_str());
    finds(&[own, ("ACCEPT", "fast")], "redis", State::Problem, "appendonly").await;
    finds(&[own, ("REDIS_CLUSTER", "true")], "redis", State::Problem, "is not a server of a cluster").await;
    server.does(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    finds(&[own], "redis", State::Problem, "maxmemory-policy is allkeys-lru").await;
    server.does(&["CONFIG", "SET", "maxmemory", "20mb", "maxmemory-policy", "noeviction"]);
    server.does(&["SETRANGE", "someone-else", "16000000", "x"]);
    finds(&[own], "redis", State::Warning, "of maxmemory are used").await;
    server.does(&["FLUSHALL"]);
    server.does(&["REPLICAOF", "127.0.0.1", "1"]);
    finds(&[own], "redis", State::Problem, "is a replica").await;
    server.gets_own_clock();
    server.sets_clock(90);
    finds(&[own], "redis", State::Problem, "ahead of that of this machine").await;

    let cluster = RedisServer::with(&["--cluster-enabled", "yes"]);
    let url = format!("redis://127.0.0.1:{}", cluster.port());
    finds(&[("REDIS_URL", &url)], "redis", State::Problem, "REDIS_CLUSTER is not true").await;
    let both = format!("{},redis://:hunter2@{}", own.1, free_address());
    finds(&[("REDIS_URLS", &both)], "redis", State::Problem, "redis-2 cannot be used").await;
}

#[tokio::test]
async fn secrets_that_cannot_be_read_or_used_are_found() {
    use State::Problem;
    let manager = SecretsManager::start().await;
    let access = manager.access();
    let with = async |name: &str, secret: &str, check: &str, state: State, words: &str| {
        let mut variables: Vec<(&str, &str)> = access.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.push((name, secret));
        finds(&variables, check, state, words).await;
    };
    let jwt = manager.keeps_text("jwt", SECRET);
    with("JWT_SECRET", &jwt, "secrets", State::Ok, "has what variables name: jwt-AbCdEf").await;
    with("JWT_SECRET", &jwt, "tokens", State::Ok, "JWT_SECRET signs").await;
    let database = manager.keeps_text("database", r#"{"password":"hunter2"}"#);
    manager.keeps("binary", Kept::Binary);
    manager.keeps("forbidden", Kept::Forbidden);
    for (name, secret, words) in [
        ("DATABASE_URL", "arn:aws:ssm:eu-west-1:123456789012:parameter/x".to_owned(), "must be the value itself"),
        ("DATABASE_URL", manager.arn("absent"), "names the secret absent-AbCdEf, which does not exist"),
        ("DATABASE_PASSWORD", manager.arn("forbidden"), "forbidden-AbCdEf, which this role may not read"),
        ("REDIS_URL", manager.arn("binary"), "binary-AbCdEf, which is binary"),
        ("REDIS_PASSWORD", format!("{database}#url"), "database-AbCdEf, which has no member url"),
        ("JWT_SECRET", format!("{jwt}#value"), "jwt-AbCdEf, which is not a JSON object"),
        ("JWT_SECRET", format!("{database}#password"), "(its value is from the secret database-AbCdEf)"),
        ("DATABASE_URL", format!("{database}#password"), "must begin with postgres://"),
        ("REDIS_URL", format!("{database}#password"), "must begin with redis://"),
    ] {
        with(name, &secret, name, Problem, words).await;
    }
    let without_credentials = [("JWT_SECRET", jwt.as_str())];
    finds(&without_credentials, "JWT_SECRET", Problem, "AWS_ACCESS_KEY_ID").await;
    let (status, text) = run(&["doctor"], &without_credentials).await;
    assert_eq!(status, Some(78), "{text}");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_or_used_are_found() {
    let provider = IdentityProvider::publishing(&[&SigningKey::p256("a")]).await;
    let url = provider.keys_url();
    let variables =
        [("JWT_JWKS_URL", url.as_str()), ("JWT_ISSUER", "https://id.example.com/"), ("JWT_AUDIENCE", "carillon")];
    finds(&variables, "tokens", State::Ok, "keys that can be used: 1").await;
    provider.publishes(&[]);
    finds(&variables, "tokens", State::Problem, "no key").await;
    provider.does(Behaviour::Fails(500));
    finds(&variables, "tokens", State::Problem, "the status is 500").await;
    finds(&variables[..2], "JWT_AUDIENCE", State::Problem, "is required with JWT_JWKS_URL").await;
}

#[tokio::test]
async fn sockets_that_cannot_be_pushed_to_are_found() {
    let closed = format!("http://{}/live", free_address());
    finds(&[("WS_ENDPOINT", &closed)], "sockets", State::Problem, "does not answer").await;
    let world = World::on(&[], Clock::system()).await;
    let other_stage = format!("http://{}/elsewhere", world.address());
    finds(&[("WS_ENDPOINT", &other_stage)], "sockets", State::Problem, "WS_ENDPOINT").await;
    world.stops().await;
}

/// The exit status of the command with these variables and no others, and what it prints.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(binaries::gateway());
    command.env_clear().envs(variables.iter().copied()).args(arguments).arg("--data").arg(data.path());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_exit_status_tells_problems_from_variables_that_no_start_accepts() {
    let (status, text) = run(&["doctor"], &[]).await;
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with("ok       variables: ") && text.ends_with("0 problems, 0 warnings\n"), "{text}");
    let redis = format!("redis://:hunter2@{}", free_address());
    let (status, text) = run(&["doctor", "--json"], &[("REDIS_URL", &redis)]).await;
    assert_eq!(status, Some(1), "{text}");
    let findings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(findings["healthy"], false, "{findings}");
    let (status, text) = run(&["doctor"], &[("JWT_SECRET", PASSWORD)]).await;
    assert_eq!(status, Some(78), "{text}");
    assert!(text.starts_with("PROBLEM  JWT_SECRET: must be at least 32 bytes long\n         to do: "), "{text}");
}
