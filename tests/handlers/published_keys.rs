//! Tokens of an identity provider, whose keys are fetched and cached.

use std::time::Duration;

use futures_util::future::join_all;
use harness::identity_provider::{Behaviour, IdentityProvider, SigningKey};
use harness::{HttpAnswer, START_MS, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::error::Error;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUDIENCE: &str = "https://carillon.example.com";

/// An app that trusts the provider.
async fn trusting(provider: &IdentityProvider) -> TestApp {
    let (url, issuer) = (provider.keys_url(), provider.issuer());
    TestApp::with(&[("JWT_JWKS_URL", &url), ("JWT_ISSUER", &issuer), ("JWT_AUDIENCE", AUDIENCE)]).await
}

/// The claims of a token for alice that is valid for a year.
fn claims(provider: &IdentityProvider) -> Value {
    let now_s = START_MS / 1_000;
    json!({"sub": "alice", "iss": provider.issuer(), "aud": AUDIENCE, "iat": now_s, "exp": now_s + 365 * 86_400})
}

async fn list(test: &TestApp, token: &str) -> HttpAnswer {
    let mut event = event("list");
    event["headers"]["authorization"] = format!("Bearer {token}").into();
    invoke(&test.app, inbox::handle, event).await
}

/// The status of a call with this token.
async fn status(test: &TestApp, token: &str) -> u16 {
    list(test, token).await.status().as_u16()
}

#[tokio::test]
async fn tokens_of_each_kind_of_key_are_valid_and_the_keys_are_fetched_once() {
    let keys = [SigningKey::rsa("rsa"), SigningKey::p256("ec"), SigningKey::ed25519("ed")];
    let provider = IdentityProvider::publishing(&keys.each_ref()).await;
    let test = trusting(&provider).await;
    for key in &keys {
        let token = key.token(&claims(&provider));
        assert_eq!(status(&test, &token).await, 200, "{}", key.algorithm());
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(status(&test, &format!("{message}.{}", "A".repeat(86))).await, 401);
        for (member, value) in [
            ("iss", json!("https://another.example.com")),
            ("aud", json!("another")),
            ("exp", json!(1)),
            ("sub", json!(7)),
        ] {
            let mut bad = claims(&provider);
            bad[member] = value;
            assert_eq!(status(&test, &key.token(&bad)).await, 401, "{member}");
        }
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn a_token_chooses_neither_its_algorithm_nor_its_key() {
    let (rsa, ec) = (SigningKey::rsa("rsa"), SigningKey::p256("ec"));
    let provider = IdentityProvider::publishing(&[&rsa, &ec]).await;
    let test = trusting(&provider).await;
    let claims = claims(&provider);
    // None of these can be signed by a published key, whichever those are, so nothing is fetched.
    let own = SigningKey::p256("own");
    for header in [
        json!({"alg": "none", "kid": "ec"}),
        json!({"alg": "HS256", "kid": "rsa"}),
        json!({"alg": "HS256", "kid": "ec"}),
        json!({"alg": "RS512", "kid": "rsa"}),
        json!({"alg": "PS256", "kid": "rsa"}),
        json!({"alg": "ES384", "kid": "ec"}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES256", "kid": ""}),
        json!({"alg": "ES256", "kid": "' OR 1=1--"}),
        json!({"alg": "ES256", "kid": "x".repeat(129)}),
        json!({"alg": "ES256", "kid": "ec\0"}),
        json!({"alg": "ES256", "kid": "ключ"}),
        json!({"alg": "ES256", "kid": 5}),
        json!({"alg": "ES256", "kid": "ec", "crit": ["x"]}),
    ] {
        assert_eq!(status(&test, &ec.token_with(&header, &claims)).await, 401, "{header}");
    }
    assert_eq!(provider.fetches(), 0);
    for header in [
        json!({"alg": "RS256", "kid": "ec"}),
        json!({"alg": "EdDSA", "kid": "ec"}),
        json!({"alg": "ES256", "kid": "rsa"}),
        json!({"alg": "ES256", "kid": "ec", "jwk": own.public()}),
        json!({"alg": "ES256", "kid": "ec", "jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/keys"}),
    ] {
        assert_eq!(status(&test, &own.token_with(&header, &claims)).await, 401, "{header}");
    }
    // The public key is no shared secret.
    let secret = rsa.public()["n"].as_str().unwrap().to_owned();
    let issuer = provider.issuer();
    let variables = [("JWT_SECRET", secret.as_str()), ("JWT_ISSUER", &issuer), ("JWT_AUDIENCE", AUDIENCE)];
    let forged = TestApp::with(&variables).await.bearer("alice", "notify:admin");
    assert_eq!(status(&test, forged.trim_start_matches("Bearer ")).await, 401);
    assert_eq!(status(&test, &ec.token(&claims)).await, 200);
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn keys_are_cached_for_ten_minutes() {
    let (old, new) = (SigningKey::p256("old"), SigningKey::p256("new"));
    let provider = IdentityProvider::publishing(&[&old, &new]).await;
    let test = trusting(&provider).await;
    let token = old.token(&claims(&provider));
    assert_eq!(status(&test, &token).await, 200);
    provider.publishes(&[new.public()]);
    test.clock.advance(10 * MINUTE - Duration::from_millis(1));
    assert_eq!((status(&test, &token).await, provider.fetches()), (200, 1));
    test.clock.advance(Duration::from_millis(1));
    assert_eq!((status(&test, &token).await, provider.fetches()), (401, 2));
    assert_eq!((status(&test, &new.token(&claims(&provider))).await, provider.fetches()), (200, 2));
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_unknown_ones_cause_one_fetch_in_30_seconds() {
    let (old, new, newer) = (SigningKey::ed25519("old"), SigningKey::ed25519("new"), SigningKey::ed25519("newer"));
    let provider = IdentityProvider::publishing(&[&old]).await;
    let test = trusting(&provider).await;
    assert_eq!(status(&test, &old.token(&claims(&provider))).await, 200);
    provider.publishes(&[old.public(), new.public()]);
    assert_eq!((status(&test, &new.token(&claims(&provider))).await, provider.fetches()), (200, 2));

    provider.publishes(&[new.public(), newer.public()]);
    let tokens: Vec<String> =
        (0..200).map(|n| SigningKey::ed25519(&format!("unknown-{n}")).token(&claims(&provider))).collect();
    let statuses = join_all(tokens.iter().map(|token| status(&test, token))).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert_eq!(status(&test, &newer.token(&claims(&provider))).await, 401);
    assert_eq!(provider.fetches(), 2);

    test.clock.advance(Duration::from_secs(30));
    let statuses = join_all(tokens.iter().map(|token| status(&test, token))).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert_eq!(provider.fetches(), 3);
    assert_eq!(status(&test, &newer.token(&claims(&provider))).await, 200);
    // The fetch replaced the set.
    assert_eq!((status(&test, &old.token(&claims(&provider))).await, provider.fetches()), (401, 3));
}

#[tokio::test]
async fn calls_that_need_the_keys_at_once_share_one_fetch() {
    let key = SigningKey::p256("ec");
    let provider = IdentityProvider::publishing(&[&key]).await;
    let test = trusting(&provider).await;
    let token = key.token(&claims(&provider));
    for fetches in [1, 2] {
        let statuses = join_all((0..50).map(|_| status(&test, &token))).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(provider.fetches(), fetches);
        test.clock.advance(10 * MINUTE);
    }
}

#[tokio::test]
async fn known_keys_stay_valid_for_a_day_while_the_provider_fails() {
    let key = SigningKey::p256("ec");
    let provider = IdentityProvider::publishing(&[&key]).await;
    let test = trusting(&provider).await;
    let (token, unknown) = (key.token(&claims(&provider)), SigningKey::p256("unknown").token(&claims(&provider)));
    assert_eq!(status(&test, &token).await, 200);
    test.clock.advance(10 * MINUTE);
    let too_many: Vec<Value> = (0..51).map(|n| SigningKey::ed25519(&n.to_string()).public()).collect();
    let padding = " ".repeat(64 * 1_024);
    let behaviours = [
        Behaviour::Fails(500),
        Behaviour::Fails(404),
        Behaviour::Fails(206),
        Behaviour::Redirects,
        Behaviour::Sends(b"<html></html>".to_vec()),
        Behaviour::Sends(b"{}".to_vec()),
        Behaviour::Sends(json!({ "keys": too_many }).to_string().into_bytes()),
        Behaviour::Sends(format!("{{\"keys\":[]}}{padding}").into_bytes()),
        Behaviour::Sends(vec![b'['; 10 * 1_024 * 1_024]),
        Behaviour::Hangs,
    ];
    for (failures, behaviour) in (1..).zip(&behaviours) {
        provider.does(behaviour.clone());
        // One attempt, and no second one before 30 seconds have passed, for known and unknown keys.
        for _ in 0..3 {
            assert_eq!((status(&test, &token).await, provider.fetches()), (200, 1 + failures), "{behaviour:?}");
            assert_eq!((status(&test, &unknown).await, provider.fetches()), (401, 1 + failures), "{behaviour:?}");
        }
        test.clock.advance(Duration::from_secs(30));
    }
    assert_eq!(provider.followed(), 0);

    provider.does(Behaviour::Fails(503));
    test.clock.advance(DAY - 10 * MINUTE - 30 * Duration::from_secs(10) - Duration::from_millis(1));
    assert_eq!(status(&test, &token).await, 200);
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(status(&test, &token).await, 503);
    provider.does(Behaviour::Publishes);
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&test, &token).await, 200);
}

#[tokio::test]
async fn calls_do_not_wait_for_a_provider_that_is_known_to_fail() {
    let key = SigningKey::p256("ec");
    let provider = IdentityProvider::publishing(&[&key]).await;
    let test = trusting(&provider).await;
    let token = key.token(&claims(&provider));
    assert_eq!(status(&test, &token).await, 200);
    test.clock.advance(10 * MINUTE);
    provider.does(Behaviour::Fails(500));
    assert_eq!(status(&test, &token).await, 200);
    test.clock.advance(Duration::from_secs(30));
    provider.does(Behaviour::Hangs);
    let retries = {
        let (app, token) = (test.app.clone(), token.clone());
        async move { app.tokens.unwrap().verify(Some(&format!("Bearer {token}")), &app.clock).await }
    };
    let retrying = tokio::spawn(retries);
    let retry_begins = async {
        while provider.fetches() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, retry_begins).await.expect("the keys were not fetched again");
    for _ in 0..20 {
        assert_eq!(status(&test, &token).await, 200);
    }
    assert!(!retrying.is_finished());
    assert_eq!(provider.fetches(), 3);
    assert!(retrying.await.unwrap().is_ok());
}

#[tokio::test]
async fn without_any_keys_a_token_is_neither_valid_nor_invalid() {
    let key = SigningKey::p256("ec");
    let provider = IdentityProvider::publishing(&[&key]).await;
    let test = trusting(&provider).await;
    let token = key.token(&claims(&provider));
    provider.does(Behaviour::Fails(500));
    let answers = join_all((0..20).map(|_| list(&test, &token))).await;
    for answer in &answers {
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        let error = &body(answer)["error"];
        assert_eq!((&error["code"], &error["retryAfterMs"]), (&json!("store_unavailable"), &json!(1_000)));
    }
    // Strangers cannot make it ask more often than once a second.
    assert_eq!(provider.fetches(), 1);
    provider.does(Behaviour::Publishes);
    test.clock.advance(Duration::from_secs(1));
    assert_eq!((status(&test, &token).await, provider.fetches()), (200, 2));
    // A clock that is set back far makes the keys unusable, not eternal.
    provider.does(Behaviour::Fails(500));
    let tokens = test.app.tokens.clone().unwrap();
    let verified = tokens.verify(Some(&format!("Bearer {token}")), &Clock::manual(0)).await;
    assert_eq!(verified, Err(Error::KeysUnavailable));
}

#[tokio::test]
async fn one_bad_key_locks_nobody_out() {
    let (good, encrypting, twice) = (SigningKey::rsa("good"), SigningKey::rsa("enc"), SigningKey::p256("twice"));
    let provider = IdentityProvider::publishing(&[&good]).await;
    let test = trusting(&provider).await;
    let mut for_encryption = encrypting.public();
    for_encryption["use"] = "enc".into();
    let other = SigningKey::p256("twice");
    let secret = json!({"kty": "oct", "kid": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"});
    provider.publishes(&[json!({"kid": 5}), for_encryption, twice.public(), good.public(), other.public(), secret]);
    assert_eq!(status(&test, &good.token(&claims(&provider))).await, 200);
    for key in [&encrypting, &twice, &other] {
        assert_eq!(status(&test, &key.token(&claims(&provider))).await, 401);
    }
}

#[tokio::test]
async fn tokens_in_the_shape_of_auth0_are_valid() {
    let key = SigningKey::rsa("NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg");
    let provider = IdentityProvider::publishing(&[]).await;
    let test = trusting(&provider).await;
    let mut public = key.public();
    public["x5t"] = "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg".into();
    public["x5c"] = json!(["MIIDCzCCAfOgAwIBAgIJAJP6qydiMpsuMA0GCSqGSIb3DQEBBQUAMBwxGjAYBgNVBAMMEXNhbXBs"]);
    provider.publishes(&[public, SigningKey::rsa("next").public()]);
    let now_s = START_MS / 1_000;
    let token = |sub: &str, scope: &str| {
        key.token(&json!({
            "iss": provider.issuer(), "sub": sub, "aud": [AUDIENCE, "https://tenant.eu.auth0.com/userinfo"],
            "iat": now_s, "exp": now_s + 86_400, "azp": "my_client_id", "scope": scope, "permissions": ["notify:send"],
        }))
    };
    assert_eq!(status(&test, &token("auth0|5f7c8ec7c33c6c004bbafe82", "openid profile")).await, 200);
    let send = async |token: String| {
        let mut event = event("send");
        event["headers"]["authorization"] = format!("Bearer {token}").into();
        invoke(&test.app, send::handle, event).await.status().as_u16()
    };
    assert_eq!(send(token("shop@clients", "notify:send")).await, 202);
    assert_eq!(send(token("shop@clients", "openid")).await, 403);
}
