//! Secrets in Secrets Manager: how they are read at start, and how those that sign tokens are taken up while functions run.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use harness::secrets_manager::{Kept, SecretsManager};
use harness::{START_MS, TestApp, event, invoke};
use shared::auth;
use shared::clock::Clock;
use shared::config::{Config, ConfigError, Origins};
use shared::secrets::{Refusal, Resolved, resolve};

const OLD: &str = "the old secret of at least thirty-two bytes";
const NEW: &str = "the new secret of at least thirty-two bytes";
const OTHER: &str = "a secret of strangers, of thirty-two bytes";
const HALF_A_MINUTE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);

/// These variables, after the secrets that they name were read.
async fn resolved(manager: &SecretsManager, variables: &[(&str, &str)], clock: &Clock) -> Resolved {
    let access = manager.access();
    let access = access.iter().map(|(name, value)| (*name, value.as_str()));
    let variables = access.chain(variables.iter().copied());
    let variables: HashMap<_, _> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    resolve(&variables, clock).await
}

/// An app that verifies tokens with the secrets in these variables.
async fn app(manager: &SecretsManager, variables: &[(&str, &str)]) -> TestApp {
    let mut test = TestApp::with(&[("JWT_SECRET", OLD)]).await;
    let resolved = resolved(manager, variables, &test.clock).await;
    let (_, secrets) = resolved.configured(&["JWT_SECRET"], Origins::Loopback).unwrap();
    test.app = test.app.clone().with_secrets(&secrets);
    test
}

/// The status of a call with a token that is signed with this secret and valid for a day.
async fn status(test: &TestApp, secret: &str) -> u16 {
    let variable = |name: &str| (name == "JWT_SECRET").then(|| secret.to_owned());
    let config = Config::read(variable, &[], Origins::Loopback).unwrap();
    let now_s = START_MS / 1_000;
    let token = auth::sign(&config, "alice", "", now_s, now_s + 86_400).unwrap();
    let mut event = event("list");
    event["headers"]["authorization"] = format!("Bearer {token}").into();
    invoke(&test.app, inbox::handle, event).await.status().as_u16()
}

#[tokio::test]
async fn variables_of_one_secret_are_read_at_once_and_each_has_its_member() {
    let manager = SecretsManager::start().await;
    let text = format!(r#"{{"url":"postgres://u:p@h/x","jwt":"{OLD}","port":5432}}"#);
    let (shop, redis) = (manager.keeps_text("shop", &text), manager.keeps_text("redis", "redis://h\n"));
    let (url, jwt) = (format!("{shop}#url"), format!("{shop}#jwt"));
    let variables = [("DATABASE_URL", url.as_str()), ("JWT_SECRET", &jwt), ("REDIS_URL", &redis), ("WS_URL", &shop)];
    let resolved = resolved(&manager, &variables, &Clock::system()).await;
    assert_eq!(resolved.secrets(), ["redis-AbCdEf", "shop-AbCdEf"]);
    let (config, secrets) = resolved.configured(&[], Origins::Loopback).unwrap();
    assert_eq!(config.database_url.unwrap().reveal(), "postgres://u:p@h/x");
    assert_eq!(config.jwt_secret.unwrap().reveal(), OLD);
    assert_eq!(config.redis.unwrap().instances[0].url.reveal(), "redis://h");
    assert_eq!(config.ws_url, Some(shop));
    assert!(secrets.of_database().is_some() && secrets.of_functions_role().is_none());
    assert_eq!(manager.reads(), 2);
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_and_its_content_is_not() {
    let manager = SecretsManager::start().await;
    manager.keeps("forbidden", Kept::Forbidden);
    manager.keeps("binary", Kept::Binary);
    manager.keeps_text("text", "hunter2");
    manager.keeps_text("object", r#"{"port":5432,"password":"hunter2"}"#);
    for (secret, refusal, text) in [
        ("absent", Refusal::Absent, "DATABASE_URL names the secret absent-AbCdEf, which does not exist"),
        ("forbidden", Refusal::Forbidden, "which this role may not read"),
        ("binary", Refusal::Binary, "which is binary"),
        ("text#url", Refusal::NotJson("url".into()), "which is not a JSON object, so it has no member url"),
        ("object#url", Refusal::NoMember("url".into()), "which has no member url"),
        ("object#port", Refusal::NotText("port".into()), "whose member port must be a string"),
    ] {
        let (name, member) =
            secret.split_once('#').map_or((secret, String::new()), |(name, m)| (name, format!("#{m}")));
        let arn = format!("{}{member}", manager.arn(name));
        let resolved = resolved(&manager, &[("DATABASE_URL", &arn)], &Clock::system()).await;
        assert_eq!(resolved.unusable.iter().map(|unusable| &unusable.refusal).collect::<Vec<_>>(), [&refusal]);
        let ConfigError(problems) = resolved.configured(&["DATABASE_URL"], Origins::Loopback).err().unwrap();
        assert!(problems.len() == 1 && problems[0].contains(text), "{secret}: {problems:?}");
        assert!(!problems[0].contains("hunter2"));
    }
    let short = manager.arn("text");
    let resolved = resolved(&manager, &[("JWT_SECRET", &short)], &Clock::system()).await;
    let ConfigError(problems) = resolved.configured(&[], Origins::Loopback).err().unwrap();
    let problem = "JWT_SECRET must be at least 32 bytes long (its value is from the secret text-AbCdEf)";
    assert_eq!(problems, [problem]);
}

#[tokio::test]
async fn a_read_that_fails_is_tried_once_more() {
    let manager = SecretsManager::start().await;
    let arn = manager.keeps_text("jwt", OLD);
    for (failures, reads, is_read) in [(1, 2, true), (2, 4, false)] {
        manager.fails(failures);
        let resolved = resolved(&manager, &[("JWT_SECRET", &arn)], &Clock::system()).await;
        assert_eq!((resolved.unusable.is_empty(), manager.reads()), (is_read, reads), "{failures}");
    }
}

#[tokio::test]
async fn a_value_that_a_server_refuses_is_read_again_at_most_every_five_seconds() {
    let (manager, clock) = (SecretsManager::start().await, Clock::manual(START_MS));
    let secret = manager.keeps_text("database", r#"{"password":"first"}"#);
    let password = format!("{secret}#password");
    let variables = [("DATABASE_URL", "postgres://u@h/x"), ("DATABASE_PASSWORD", &password)];
    let (config, secrets) = resolved(&manager, &variables, &clock).await.configured(&[], Origins::Loopback).unwrap();
    assert_eq!(config.database_url.unwrap().reveal(), "postgres://u:first@h/x");
    let renewal = secrets.of_database().unwrap();
    let url = async || renewal.after_refusal().await.database_url.as_ref().unwrap().reveal().to_owned();

    // The read at start does not count, and calls at the same time share one.
    manager.keeps_text("database", r#"{"password":"second"}"#);
    let urls = join_all((0..20).map(|_| url())).await;
    assert!(urls.iter().all(|url| url == "postgres://u:second@h/x"), "{urls:?}");
    assert_eq!(manager.reads(), 2);

    manager.keeps_text("database", r#"{"password":"third"}"#);
    clock.advance(Duration::from_millis(4_999));
    assert_eq!((url().await.as_str(), manager.reads()), ("postgres://u:second@h/x", 2));
    clock.advance(Duration::from_millis(1));
    assert_eq!((url().await.as_str(), manager.reads()), ("postgres://u:third@h/x", 3));
}

#[tokio::test]
async fn whoever_asks_during_a_read_gets_its_value() {
    let manager = SecretsManager::start().await;
    let arn = manager.keeps_text("redis", "redis://first");
    let resolved = resolved(&manager, &[("REDIS_URL", &arn)], &Clock::system()).await;
    let (_, secrets) = resolved.configured(&[], Origins::Loopback).unwrap();
    let renewal = secrets.of_redis().unwrap();
    manager.keeps_text("redis", "redis://second");
    let first = tokio::spawn({
        let renewal = renewal.clone();
        async move { renewal.after_refusal().await }
    });
    while manager.reads() == 1 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    for config in [renewal.after_refusal().await, first.await.unwrap()] {
        assert_eq!(config.redis.as_ref().unwrap().instances[0].url.reveal(), "redis://second");
    }
    assert_eq!(manager.reads(), 2);
}

#[tokio::test]
async fn another_secret_is_taken_up_after_five_minutes_and_with_its_first_token() {
    let manager = SecretsManager::start().await;
    let test = app(&manager, &[("JWT_SECRET", &manager.keeps_text("jwt", OLD))]).await;
    for _ in 0..3 {
        assert_eq!((status(&test, OLD).await, manager.reads()), (200, 1));
    }
    manager.keeps_text("jwt", NEW);
    assert_eq!((status(&test, NEW).await, manager.reads()), (401, 1));
    test.clock.advance(HALF_A_MINUTE);
    assert_eq!((status(&test, NEW).await, manager.reads()), (200, 2));
    assert_eq!((status(&test, OLD).await, manager.reads()), (401, 2));

    manager.keeps_text("jwt", OLD);
    test.clock.advance(FIVE_MINUTES - Duration::from_millis(1));
    assert_eq!((status(&test, NEW).await, manager.reads()), (200, 2));
    test.clock.advance(Duration::from_millis(1));
    assert_eq!((status(&test, NEW).await, manager.reads()), (401, 3));
    assert_eq!((status(&test, OLD).await, manager.reads()), (200, 3));
}

#[tokio::test]
async fn the_secret_before_verifies_too() {
    let manager = SecretsManager::start().await;
    let variables = [manager.keeps_text("jwt", OLD), manager.keeps_text("jwt-previous", OTHER)];
    let test = app(&manager, &[("JWT_SECRET", &variables[0]), ("JWT_SECRET_PREVIOUS", &variables[1])]).await;
    manager.keeps_text("jwt-previous", OLD);
    manager.keeps_text("jwt", NEW);
    test.clock.advance(HALF_A_MINUTE);
    for (secret, expected) in [(NEW, 200), (OLD, 200), (OTHER, 401)] {
        assert_eq!(status(&test, secret).await, expected, "{secret}");
    }
    assert_eq!(manager.reads(), 4);
}

#[tokio::test]
async fn tokens_of_strangers_cause_one_read_in_half_a_minute() {
    let manager = SecretsManager::start().await;
    let test = app(&manager, &[("JWT_SECRET", &manager.keeps_text("jwt", OLD))]).await;
    for reads in 1..=3 {
        let statuses = join_all((0..100).map(|_| status(&test, OTHER))).await;
        assert!(statuses.iter().all(|status| *status == 401));
        assert_eq!((status(&test, OLD).await, manager.reads()), (200, reads));
        test.clock.advance(HALF_A_MINUTE);
    }
}

#[tokio::test]
async fn the_last_secret_is_used_while_another_cannot_be() {
    let manager = SecretsManager::start().await;
    let test = app(&manager, &[("JWT_SECRET", &manager.keeps_text("jwt", OLD))]).await;
    for kept in [Kept::Forbidden, Kept::Binary, Kept::Text("too short".into()), Kept::Text(String::new())] {
        let reads = manager.reads();
        manager.keeps("jwt", kept.clone());
        test.clock.advance(FIVE_MINUTES);
        for _ in 0..3 {
            assert_eq!((status(&test, OLD).await, manager.reads()), (200, reads + 1), "{kept:?}");
        }
    }
    manager.keeps_text("jwt", NEW);
    test.clock.advance(FIVE_MINUTES);
    assert_eq!((status(&test, NEW).await, status(&test, OLD).await), (200, 401));
}
