//! A browser's subscription, as the browser describes it and as it is stored.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::endpoint::{Endpoint, PushHosts};
use crate::error::Error;
use crate::http::fields::Fields;
use crate::ids::SubscriptionId;

/// The length of a point of P-256 in its uncompressed form.
pub const POINT_BYTES: usize = 65;
/// The first byte of a point in that form.
const UNCOMPRESSED: u8 = 4;

/// Where and for whom a browser may be pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, which follows from its endpoint.
    pub id: SubscriptionId,
    /// Where to push.
    pub endpoint: Endpoint,
    /// What to encrypt with.
    pub keys: Keys,
}

/// The keys that only the browser and this deployment know.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The browser's public key: a point of P-256, uncompressed and not at infinity.
    pub p256dh: [u8; POINT_BYTES],
    /// The secret that authenticates what is encrypted.
    pub auth: [u8; 16],
}

impl Subscription {
    /// Reads a `PushSubscription`, as browsers serialise it to JSON.
    pub fn read(members: Map<String, Value>, hosts: &PushHosts) -> Result<Self, Error> {
        let mut fields = Fields::new(members);
        let endpoint = fields.take("endpoint");
        let endpoint = fields.required("endpoint", endpoint).and_then(|endpoint| {
            fields.checked("endpoint", endpoint, |endpoint| match endpoint {
                Value::String(text) => Endpoint::new(&text, hosts).map_err(str::to_owned),
                _ => Err("must be a string".into()),
            })
        });
        // A push service says by itself when a subscription has ended.
        let expires = fields.take("expirationTime");
        if expires.is_some_and(|time| !time.is_null() && time.as_f64().is_none_or(|ms| ms < 0.0)) {
            fields.problem("expirationTime", "must be null or milliseconds since 1970");
        }
        let keys = fields.object("keys", |keys| {
            let p256dh = encoded(keys, "p256dh", |bytes| {
                point(bytes).ok_or("must be an uncompressed point of P-256, 65 bytes as base64url without padding")
            });
            let auth = encoded(keys, "auth", |bytes| {
                bytes.try_into().map_err(|_| "must be 16 bytes as base64url without padding")
            });
            Some(Keys { p256dh: p256dh?, auth: auth? })
        });
        let keys = fields.required("keys", keys).flatten();
        fields.finish()?;
        // Every absence was recorded as a problem, so neither is absent after `finish`.
        let (Some(endpoint), Some(keys)) = (endpoint, keys) else {
            return Err(Error::Internal);
        };
        Ok(Self::new(endpoint, keys))
    }

    /// A subscription from the columns of its row. The error names the one that cannot be what was stored.
    pub fn stored(endpoint: &str, p256dh: &[u8], auth: &[u8]) -> Result<Self, &'static str> {
        let endpoint = Endpoint::stored(endpoint).ok_or("endpoint")?;
        let p256dh = point(p256dh).ok_or("p256dh")?;
        let auth = auth.try_into().map_err(|_| "auth")?;
        Ok(Self::new(endpoint, Keys { p256dh, auth }))
    }

    fn new(endpoint: Endpoint, keys: Keys) -> Self {
        Self { id: SubscriptionId::of_endpoint(endpoint.as_str()), endpoint, keys }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Takes a required member that is bytes as base64url without padding.
fn encoded<T>(fields: &mut Fields, name: &str, check: impl FnOnce(&[u8]) -> Result<T, &'static str>) -> Option<T> {
    let value = fields.take(name);
    let value = fields.required(name, value)?;
    fields.checked(name, value, |value| {
        // What cannot be decoded has the wrong length, as the requirement says it.
        let bytes = value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
        check(&bytes).map_err(str::to_owned)
    })
}

/// A point of P-256 in its uncompressed form. The point at infinity has none.
fn point(bytes: &[u8]) -> Option<[u8; POINT_BYTES]> {
    let point: [u8; POINT_BYTES] = bytes.try_into().ok()?;
    let is_on_curve = || ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &point)).is_ok();
    (point[0] == UNCOMPRESSED && is_on_curve()).then_some(point)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// From RFC 8291, appendix A.
    const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const ENDPOINT: &str = "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV";

    fn read(body: Value) -> Result<Subscription, Error> {
        let Value::Object(members) = body else { panic!("{body}") };
        Subscription::read(members, &PushHosts::default())
    }

    fn body() -> Value {
        json!({"endpoint": ENDPOINT, "expirationTime": null, "keys": {"p256dh": P256DH, "auth": AUTH}})
    }

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_json_of_a_browser_is_a_subscription_and_its_columns_are_the_same() {
        let subscription = read(body()).unwrap();
        assert_eq!(subscription.endpoint.as_str(), ENDPOINT);
        assert_eq!(subscription.id, SubscriptionId::of_endpoint(ENDPOINT));
        let Keys { p256dh, auth } = &subscription.keys;
        assert_eq!((p256dh.to_vec(), auth.to_vec()), (decoded(P256DH), decoded(AUTH)));
        assert_eq!(Subscription::stored(ENDPOINT, p256dh, auth), Ok(subscription.clone()));
        for more in [json!(1_800_000_000_000.5), json!(0)] {
            let mut body = body();
            body["expirationTime"] = more;
            assert_eq!(read(body), Ok(subscription.clone()));
        }
        assert!(!format!("{subscription:?}").contains("push/"));
    }

    #[test]
    fn each_member_that_is_wrong_is_named() {
        let point = decoded(P256DH);
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = point.clone();
            change(&mut bytes);
            json!(URL_SAFE_NO_PAD.encode(bytes))
        };
        let compressed = with(&|bytes| {
            bytes.truncate(33);
            bytes[0] = 2 + (point[64] & 1);
        });
        for (path, value) in [
            ("/endpoint", json!("http://push.example.net/")),
            ("/endpoint", json!(5)),
            ("/expirationTime", json!("never")),
            ("/expirationTime", json!(-1)),
            ("/keys", json!(null)),
            ("/keys/p256dh", json!(null)),
            ("/keys/p256dh", json!("")),
            ("/keys/p256dh", with(&|bytes| bytes[64] ^= 1)),
            ("/keys/p256dh", with(&|bytes| bytes[0] = 6 + (bytes[64] & 1))),
            ("/keys/p256dh", with(&|bytes| bytes.truncate(64))),
            ("/keys/p256dh", with(&|bytes| bytes.push(0))),
            ("/keys/p256dh", with(&|bytes| bytes[1..].fill(0))),
            ("/keys/p256dh", with(&|bytes| bytes.truncate(1))),
            ("/keys/p256dh", json!("AA")),
            ("/keys/p256dh", compressed),
            ("/keys/p256dh", json!(format!("{P256DH}="))),
            ("/keys/p256dh", json!(P256DH.replace('-', "+").replace('_', "/"))),
            ("/keys/auth", json!(&AUTH[..20])),
            ("/keys/auth", json!(format!("{AUTH}A"))),
            ("/keys/auth", json!(format!("{AUTH}=="))),
            ("/keys/auth", json!(AUTH.replace('_', "/"))),
        ] {
            let mut body = body();
            *body.pointer_mut(path).unwrap() = value.clone();
            let problems = read(body).unwrap_err().to_string();
            let name = path.trim_start_matches('/').replace('/', ".");
            assert!(problems.starts_with(&format!("{name}: must ")), "{path} {value}: {problems}");
        }
    }

    #[test]
    fn nothing_is_missing_and_nothing_is_unknown() {
        assert_eq!(read(json!({})).unwrap_err().to_string(), "endpoint: is required; keys: is required");
        let more = json!({"endpoint": ENDPOINT, "keys": {"auth": AUTH, "p384": ""}, "userVisibleOnly": true});
        assert_eq!(
            read(more).unwrap_err().to_string(),
            "keys.p256dh: is required; keys.p384: is not a known field; userVisibleOnly: is not a known field"
        );
    }

    #[test]
    fn a_broken_row_names_its_column() {
        let (point, auth) = (decoded(P256DH), decoded(AUTH));
        for (endpoint, p256dh, auth, column) in [
            ("push.example.net", &*point, &*auth, "endpoint"),
            (ENDPOINT, &point[1..], &auth, "p256dh"),
            (ENDPOINT, &[4; 65], &auth, "p256dh"),
            (ENDPOINT, &point, &auth[1..], "auth"),
        ] {
            assert_eq!(Subscription::stored(endpoint, p256dh, auth), Err(column));
        }
    }
}
