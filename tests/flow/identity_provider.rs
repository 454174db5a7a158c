//! A system whose tokens come from an identity provider in the shape of Cognito: prefixed scopes, and access tokens without
//! `aud`.

use harness::identity_provider::{IdentityProvider, SigningKey};
use harness::{Caller, World};
use serde_json::{Value, json};

const CLIENT: &str = "1example23456789";

/// The discovery document of the provider.
async fn discovered(provider: &IdentityProvider) -> Value {
    let issuer = provider.issuer();
    let (address, path) = issuer.trim_start_matches("http://").split_once('/').unwrap();
    let path = format!("/{path}/.well-known/openid-configuration");
    harness::http::call(address.parse().unwrap(), "GET", &path, &[], "").await.expect(200)
}

/// A system that trusts the provider as its discovery document describes it.
async fn trusting(provider: &IdentityProvider) -> World {
    let found = discovered(provider).await;
    World::with(&[
        ("JWT_JWKS_URL", found["jwks_uri"].as_str().unwrap()),
        ("JWT_ISSUER", found["issuer"].as_str().unwrap()),
        ("JWT_AUDIENCE", CLIENT),
        ("JWT_SCOPE_PREFIX", "carillon/"),
    ])
    .await
}

/// An access token as Cognito issues it.
fn access_token(world: &World, provider: &IdentityProvider, key: &SigningKey, sub: &str, scope: &str) -> String {
    let now_s = world.clock.now_ms() / 1_000;
    key.token(&json!({
        "sub": sub, "iss": provider.issuer(), "version": 2, "client_id": CLIENT, "token_use": "access", "scope": scope,
        "auth_time": now_s, "exp": now_s + 3_600, "iat": now_s, "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "username": sub,
    }))
}

#[tokio::test]
async fn tokens_of_an_identity_provider_open_sockets_and_send() {
    let key = SigningKey::rsa("KTGPq+kIfYwyWwW/LxLRLmB0ZqUpoYp4WZgCWLxDDzk=");
    let provider = IdentityProvider::publishing(&[&key]).await;
    let world = trusting(&provider).await;
    let caller = |key: &SigningKey, sub: &str, scope: &str| -> Caller {
        world.bearer(sub, &access_token(&world, &provider, key, sub, scope))
    };
    let (alice, shop) = (caller(&key, "alice", "openid"), caller(&key, CLIENT, "carillon/notify:send"));
    let mut phone = alice.connects().await;
    let id = shop.rings(&["alice"], "Your parcel is on its way").await;
    phone.sees("Your parcel is on its way").await;
    assert_eq!(alice.inbox().await, [id]);

    // Scopes without the prefix belong to other services.
    let body = json!({"type": "greeting", "userIds": ["alice"], "title": "Hi"});
    for scope in ["openid", "notify:send", "other/notify:send", "carillon/notify:admin"] {
        let refused = caller(&key, "mallory", scope).posts("/api/notifications/send", body.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{scope}");
    }
    let stranger = caller(&SigningKey::rsa("stranger"), "alice", "").gets("/api/sync").await;
    assert_eq!((stranger.status, stranger.code().as_str()), (401, "invalid_token"));
    assert_eq!(stranger.header("www-authenticate"), r#"Bearer error="invalid_token""#);

    // Nobody signs tokens here but the provider.
    let refused = world.call("GET", "/_gateway/token?sub=alice", &[], "").await;
    assert_eq!(refused.status, 404);
    assert!(refused.json()["message"].as_str().unwrap().contains("cannot sign tokens"), "{}", refused.text);
    world.stops().await;
}

#[tokio::test]
async fn a_key_that_the_provider_replaces_takes_over_at_once() {
    let (old, new) = (SigningKey::rsa("old"), SigningKey::p256("new"));
    let provider = IdentityProvider::publishing(&[&old]).await;
    let world = trusting(&provider).await;
    let caller = |key: &SigningKey| world.bearer("alice", &access_token(&world, &provider, key, "alice", ""));
    assert_eq!(caller(&old).gets("/api/sync").await.status, 200);
    provider.publishes(&[old.public(), new.public()]);
    assert_eq!(caller(&new).gets("/api/sync").await.status, 200);
    assert_eq!(caller(&old).gets("/api/sync").await.status, 200);
    world.stops().await;
}
