//! Deployed functions read the secrets that their variables name before their first event.

use harness::binaries::{self, Profile};
use harness::event;
use harness::sandbox::{Sandbox, Variables, refused, required_variables};
use harness::secrets_manager::{Kept, SecretsManager};
use serde_json::{Map, Value, json};

use crate::environment::{bearer, servers, with};

/// The variables whose values move into one secret.
const SECRETS: [&str; 3] = ["DATABASE_URL", "JWT_SECRET", "REDIS_URL"];

/// These variables, of which some name members of a secret that has their values.
fn in_a_secret(variables: &Variables, manager: &SecretsManager) -> Variables {
    let values = variables.iter().filter(|(name, _)| SECRETS.contains(&name.as_str()));
    let values: Map<String, Value> = values.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let arn = manager.keeps_text("shop", &Value::Object(values).to_string());
    let named = SECRETS.iter().fold(variables.clone(), |all, name| with(all, name, &format!("{arn}#{name}")));
    manager.access().iter().fold(named, |all, (name, value)| with(all, name, value))
}

#[tokio::test]
async fn a_function_works_with_secrets_that_it_reads_once() {
    let (plain, manager) = (servers().await, SecretsManager::start().await);
    let variables = in_a_secret(&plain, &manager);
    let built = binaries::built(Profile::Dev);
    Sandbox::start(&built["migrate"], &variables).await.invoke(&json!({})).await.unwrap();
    assert_eq!(manager.reads(), 1);
    let mut sandbox = Sandbox::start(&built["send"], &variables).await;
    let mut sending = event("send");
    sending["headers"]["authorization"] = bearer(&plain, "shop", "notify:send").into();
    for key in ["1", "2", "3"] {
        let body = json!({"type": "like", "userIds": ["alice"], "title": "Hi", "idempotencyKey": key});
        sending["body"] = body.to_string().into();
        let answer = sandbox.invoke(&sending).await.unwrap();
        assert_eq!(answer["statusCode"], 202, "{answer} {}", sandbox.log());
    }
    assert_eq!(manager.reads(), 2);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_the_start_and_is_named() {
    let manager = SecretsManager::start().await;
    let variables = in_a_secret(&required_variables(), &manager);
    manager.keeps("shop", Kept::Forbidden);
    let (status, log) = refused(&binaries::built(Profile::Dev)["send"], &variables).await;
    assert_eq!((status, log.lines().count()), (78, SECRETS.len()), "{log}");
    for name in SECRETS {
        let text = format!("{name} names the secret shop-AbCdEf, which this role may not read");
        assert!(log.contains(&text), "{name}: {log}");
    }
}
