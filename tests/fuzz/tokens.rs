//! The `Authorization` header: only what was signed is accepted.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::app::request;
use harness::{START_MS, TestApp, body, event};
use serde_json::json;

use crate::target::{Target, runtime, signature};

/// The secret of [`TestApp`].
const SECRET: &str = "a secret of at least thirty-two bytes";

const WORDS: &[&str] = &[
    "Bearer ",
    "bearer\t",
    "Basic ",
    ".",
    "=",
    "eyJhbGciOiJub25lIn0",
    "eyJhbGciOiJIUzM4NCJ9",
    "eyJhbGciOiJIUzI1NiJ9",
    "e30",
    "W10",
    "bnVsbA",
];

pub(crate) fn target() -> Target {
    let now_s = START_MS / 1_000;
    let good = json!({"sub": "alice", "iat": now_s, "exp": now_s + 900, "scope": "notify:send"});
    let tokens = [
        signed(r#"{"alg":"HS256","typ":"JWT"}"#, &good.to_string()),
        signed(
            r#"{"alg":"HS256"}"#,
            &json!({"sub": "bob", "exp": now_s + 900, "nbf": now_s, "aud": ["x"], "more": {"a": [1]}}).to_string(),
        ),
        signed(r#"{"alg":"HS256"}"#, &json!({"sub": "", "exp": now_s + 900}).to_string()),
        signed(r#"{"alg":"none"}"#, &good.to_string()),
        signed(r#"{"alg":"HS256","crit":["x"]}"#, &good.to_string()),
        signed(r#"{"alg":"HS256"}"#, "[1]"),
    ];
    // The first two are good.
    let accepted: HashSet<String> = tokens[..2].iter().cloned().collect();
    let seeds = tokens.iter().map(|token| format!("Bearer {token}").into_bytes()).collect();
    let runtime = runtime();
    let test = runtime.block_on(TestApp::new());
    Target {
        name: "tokens",
        seeds,
        words: WORDS,
        attempt: Box::new(move |input| runtime.block_on(attempt(&test, &accepted, input))),
    }
}

async fn attempt(test: &TestApp, accepted: &HashSet<String>, input: &[u8]) -> u64 {
    let header = String::from_utf8_lossy(input).into_owned();
    // API Gateway passes on only what may stand in a header.
    if http::HeaderValue::from_str(&header).is_err() {
        return signature("no header");
    }
    let mut list = event("list");
    list["headers"]["authorization"] = header.as_str().into();
    let answer = inbox::handle(&test.app, request(list)).await;
    let code = body(&answer)["error"]["code"].as_str().unwrap_or_default().to_owned();
    match answer.status().as_u16() {
        200 => {
            let (scheme, token) = header.split_once(' ').expect("a scheme and a token");
            assert!(scheme.eq_ignore_ascii_case("bearer"), "{header:?}");
            assert!(accepted.contains(token.trim()), "a forged token is accepted: {header:?}");
        }
        401 => assert!(["token_missing", "token_expired", "invalid_token"].contains(&code.as_str()), "{code}"),
        status => panic!("{status} {code}"),
    }
    signature((answer.status().as_u16(), code, header.len() > 8_192, header.split('.').count().min(5)))
}

fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}
