//! Tells push services who pushes (VAPID, RFC 8292): a token for each of them, signed with the keys of the deployment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde::Serialize;

use super::endpoint::Endpoint;
use crate::config::{Secret, VapidKeys};

/// How long a token is valid. The specification allows 24 h.
const TOKEN_LIFE_S: i64 = 12 * 60 * 60;
/// From when on a token is replaced: its push service may have another time.
const MIN_LIFE_LEFT_S: i64 = 60 * 60;
/// The most tokens that are kept. Strangers choose endpoints, so there may be any number of origins.
const MAX_KEPT: usize = 256;
const HEADER: &str = r#"{"typ":"JWT","alg":"ES256"}"#;

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: i64,
    sub: &'a str,
}

/// Signs requests to push services.
pub struct Vapid {
    keys: VapidKeys,
    public_key: String,
    /// By origin.
    kept: Mutex<HashMap<String, Signed>>,
}

struct Signed {
    authorization: HeaderValue,
    expires_at_s: i64,
}

impl Vapid {
    /// Signs with these keys.
    pub fn new(keys: VapidKeys) -> Self {
        Self { public_key: keys.public_key(), keys, kept: Mutex::default() }
    }

    /// The `Authorization` of a request to an endpoint. Requests to one origin have the same for hours.
    pub fn authorization(&self, endpoint: &Endpoint, now_ms: i64) -> Result<HeaderValue, Unspecified> {
        let (origin, now_s) = (endpoint.origin(), now_ms / 1_000);
        // One that lasts longer than a new one was made before the clock was set back.
        let is_good = |signed: &&Signed| (MIN_LIFE_LEFT_S..=TOKEN_LIFE_S).contains(&(signed.expires_at_s - now_s));
        if let Some(signed) = self.lock().get(&origin).filter(is_good) {
            return Ok(signed.authorization.clone());
        }
        let expires_at_s = now_s + TOKEN_LIFE_S;
        let authorization = self.sign(&origin, expires_at_s)?;
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT && !kept.contains_key(&origin) {
            let oldest = kept.iter().min_by_key(|(_, signed)| signed.expires_at_s).map(|(origin, _)| origin.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        kept.insert(origin, Signed { authorization: authorization.clone(), expires_at_s });
        Ok(authorization)
    }

    fn sign(&self, origin: &str, exp: i64) -> Result<HeaderValue, Unspecified> {
        let claims = Claims { aud: origin, exp, sub: self.keys.subject() };
        let claims = serde_json::to_vec(&claims).map_err(|_| Unspecified)?;
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.keys.pair().sign(&SystemRandom::new(), message.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let authorization = format!("vapid t={message}.{signature}, k={}", self.public_key);
        let mut authorization = HeaderValue::from_str(&authorization).map_err(|_| Unspecified)?;
        authorization.set_sensitive(true);
        Ok(authorization)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Signed>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new pair of keys, the public one and the private one, as their variables have them.
pub fn generate() -> Result<(String, Secret), Unspecified> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
    Ok((URL_SAFE_NO_PAD.encode(pair.public_key()), Secret::new(URL_SAFE_NO_PAD.encode(private.as_ref()))))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Config, Origins};

    const NOW_MS: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 60 * 60 * 1_000;

    fn vapid() -> Vapid {
        let (public, private) = generate().unwrap();
        let variable = |name: &str| match name {
            "VAPID_PUBLIC_KEY" => Some(public.clone()),
            "VAPID_PRIVATE_KEY" => Some(private.reveal().to_owned()),
            "VAPID_SUBJECT" => Some("mailto:push@example.com".to_owned()),
            _ => None,
        };
        Vapid::new(Config::read(variable, &[], Origins::Loopback).unwrap().vapid.unwrap())
    }

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::stored(text).unwrap()
    }

    /// What the header says, if it is signed with the key in it.
    fn claims(authorization: &HeaderValue) -> Value {
        let rest = authorization.to_str().unwrap().strip_prefix("vapid t=").unwrap();
        let (token, key) = rest.split_once(", k=").unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let decoded = |text| URL_SAFE_NO_PAD.decode(text).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decoded(key));
        key.verify(message.as_bytes(), &decoded(signature)).unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        assert_eq!(decoded(header), HEADER.as_bytes());
        serde_json::from_slice(&decoded(claims)).unwrap()
    }

    #[test]
    fn a_token_is_for_one_origin_and_half_a_day() {
        let vapid = vapid();
        let authorization = vapid.authorization(&endpoint("https://push.example.com/send/1?x"), NOW_MS).unwrap();
        let exp = (NOW_MS + 12 * HOUR_MS) / 1_000;
        let expected = json!({"aud": "https://push.example.com", "exp": exp, "sub": "mailto:push@example.com"});
        assert_eq!(claims(&authorization), expected);
        assert!(authorization.to_str().unwrap().ends_with(&format!(", k={}", vapid.keys.public_key())));
        assert!(authorization.is_sensitive());
        let other = vapid.authorization(&endpoint("http://127.0.0.1:8080/1"), NOW_MS).unwrap();
        assert_eq!(claims(&other)["aud"], "http://127.0.0.1:8080");
    }

    #[test]
    fn a_token_is_used_until_its_last_hour_and_not_if_the_clock_was_set_back() {
        let (vapid, endpoint) = (vapid(), endpoint("https://push.example.com/1"));
        let at = |now_ms| vapid.authorization(&endpoint, now_ms).unwrap();
        let first = at(NOW_MS);
        assert_eq!(at(NOW_MS + 11 * HOUR_MS), first);
        let second = at(NOW_MS + 11 * HOUR_MS + 1_000);
        assert_ne!(second, first);
        assert_ne!(at(NOW_MS), second);
    }

    #[test]
    fn the_tokens_that_are_kept_are_bounded() {
        let vapid = vapid();
        let of = |n: usize, now_ms| {
            vapid.authorization(&endpoint(&format!("https://push-{n}.example.com/")), now_ms).unwrap()
        };
        let (first, second) = (of(0, NOW_MS), of(1, NOW_MS + 1_000));
        for n in 2..=MAX_KEPT {
            of(n, NOW_MS + 2_000);
        }
        assert_eq!(vapid.lock().len(), MAX_KEPT);
        assert_eq!(of(1, NOW_MS + 2_000), second);
        assert_ne!(of(0, NOW_MS + 2_000), first);
    }
}
