//! Documents of identity providers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::auth::published_keys;

use crate::target::{Target, signature};

pub(crate) fn target() -> Target {
    let rsa = json!({"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "e": "AQAB", "n": format!("{}_w", "_".repeat(340))});
    // The examples of RFC 7517 and RFC 8037.
    let ec = json!({
        "kty": "EC", "crv": "P-256", "kid": "ec",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    });
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let documents = [json!({"keys": [rsa, ec, ed]}), json!({"keys": []}), json!({"keys": vec![ed; 51]})];
    for document in &documents[..1] {
        let read = published_keys::read(document.to_string().as_bytes()).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!((read.keys.len(), read.refused.len()), (3, 0), "a seed is not read");
    }
    Target {
        name: "published_keys",
        seeds: documents.iter().map(|document| document.to_string().into_bytes()).collect(),
        words: &[
            "\"oct\"",
            "\"k\"",
            "\"d\"",
            "\"enc\"",
            "\"key_ops\"",
            "\"verify\"",
            "\"X25519\"",
            "\"ES256\"",
            "\"EdDSA\"",
            "../",
        ],
        attempt: Box::new(attempt),
    }
}

fn attempt(input: &[u8]) -> u64 {
    match published_keys::read(input) {
        Ok(read) => {
            let members = read.keys.len() + read.refused.len();
            // Each member is either used or refused, once. Strings of members that are not read may be malformed.
            let refused: BTreeSet<usize> = read.refused.iter().map(|(position, _)| *position).collect();
            assert!(refused.len() == read.refused.len() && members <= 50);
            assert!(refused.iter().all(|position| *position < members));
            if let Ok(document) = serde_json::from_slice::<Value>(input) {
                assert_eq!(document["keys"].as_array().map_or(0, Vec::len), members);
            }
            for id in read.keys.keys() {
                assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
            }
            let reasons: BTreeSet<&str> = read.refused.iter().map(|(_, reason)| *reason).collect();
            signature((read.keys.len().min(3), reasons))
        }
        Err(reason) => signature(reason),
    }
}
