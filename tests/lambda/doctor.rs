//! The function `drain` says what is wrong with its stores, if an operator asks it.

use harness::binaries::{self, Profile};
use harness::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::environment::{servers, with};

#[tokio::test]
async fn the_drain_says_what_is_wrong_with_what_its_variables_name() {
    let variables = with(servers().await, "ENV", "production");
    let mut sandbox = Sandbox::start(&binaries::built(Profile::Dev)["drain"], &variables).await;
    let findings = sandbox.invoke(&json!({ "doctor": true })).await.unwrap_or_else(|error| panic!("{error}"));
    let state = |check: &str, words: &str| {
        let is_it = |finding: &&Value| finding["check"] == check && finding["what"].as_str().unwrap().contains(words);
        findings.as_array().unwrap().iter().find(is_it).map(|finding| finding["state"].clone())
    };
    assert_eq!(state("migrations", "all are applied"), Some("ok".into()), "{findings}");
    assert_eq!(state("redis", "redis-1 answers"), Some("ok".into()), "{findings}");
    // Nothing listens at WS_ENDPOINT, and it has no TLS.
    assert_eq!(state("sockets", "does not answer"), Some("problem".into()), "{findings}");
    assert_eq!(state("WS_ENDPOINT", "begins with http://"), Some("problem".into()), "{findings}");
}
