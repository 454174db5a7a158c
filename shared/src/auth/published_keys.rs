//! Reads the keys that an identity provider publishes (a JSON Web Key Set, RFC 7517) and keeps those that fit their use.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::verifying_key::VerifyingKey;

/// The most keys of a set; a provider that rotates keys publishes two or three.
const MAX_KEYS: usize = 50;
/// The most characters of a key's id.
const MAX_ID_CHARACTERS: usize = 128;
/// The lengths of an RSA modulus that are neither too weak nor too slow to verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The usable keys of a set, by their ids (`kid`).
pub type Keys = HashMap<String, VerifyingKey>;

/// What a document contains.
pub struct Published {
    /// The keys that verify tokens.
    pub keys: Keys,
    /// The position of each other key in the set, and why it is not used.
    pub refused: Vec<(usize, &'static str)>,
}

#[derive(Deserialize)]
struct Document<'a> {
    /// Each key is read on its own, so that a bad one does not make the others useless.
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: String,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<IgnoredAny>,
}

/// Whether a key may have this id: visible ASCII, since providers use any base64 alphabet and more. Ids are only compared
/// and are never part of a path.
pub(super) fn is_key_id(id: &str) -> bool {
    (1..=MAX_ID_CHARACTERS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads a document. The error is why it is not a key set.
pub fn read(document: &[u8]) -> Result<Published, &'static str> {
    let Document { keys } =
        serde_json::from_slice(document).map_err(|_| "it is not a JSON object with an array keys")?;
    if keys.len() > MAX_KEYS {
        return Err("it has more than 50 keys");
    }
    let mut refused = Vec::new();
    let mut usable: HashMap<String, Vec<(usize, VerifyingKey)>> = HashMap::new();
    for (position, json) in keys.into_iter().enumerate() {
        match usable_key(json) {
            Ok((id, key)) => usable.entry(id).or_default().push((position, key)),
            Err(reason) => refused.push((position, reason)),
        }
    }
    let mut keys = Keys::new();
    for (id, mut same_id) in usable {
        match same_id.pop() {
            Some((_, key)) if same_id.is_empty() => _ = keys.insert(id, key),
            // Which of them the provider means is unknown, and it may depend on their order.
            last => {
                let positions = same_id.into_iter().chain(last).map(|(position, _)| position);
                refused.extend(positions.map(|position| (position, "another key has the same kid")));
            }
        }
    }
    refused.sort_unstable();
    Ok(Published { keys, refused })
}

/// The id and key of a member of the set; otherwise the reason for which it is not used.
fn usable_key(json: &RawValue) -> Result<(String, VerifyingKey), &'static str> {
    let key: Key =
        serde_json::from_str(json.get()).map_err(|_| "it has no kty and kid, or a member of another type")?;
    if !is_key_id(&key.kid) {
        return Err("its kid is not 1 to 128 visible ASCII characters");
    }
    if key.r#use.as_ref().is_some_and(|purpose| purpose != "sig") {
        return Err("its use is not sig");
    }
    if key.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err("its key_ops do not contain verify");
    }
    if key.d.is_some() {
        return Err("it is a private key, which everybody can sign with");
    }
    // The type decides on the algorithm, so that a token cannot choose one.
    let (names, algorithm, decoding_key): (&[&str], _, _) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => (&["RS256"], Algorithm::RS256, rsa(&key)?),
        ("EC", Some("P-256")) => (&["ES256"], Algorithm::ES256, p256(&key)?),
        // RFC 9864 gave the algorithm its second name.
        ("OKP", Some("Ed25519")) => (&["EdDSA", "Ed25519"], Algorithm::EdDSA, ed25519(&key)?),
        _ => return Err("its type or curve is not supported"),
    };
    if key.alg.as_ref().is_some_and(|alg| !names.contains(&alg.as_str())) {
        return Err("its alg is not the one that is supported for its type");
    }
    Ok((key.kid, VerifyingKey::new(algorithm, decoding_key)))
}

fn rsa(key: &Key) -> Result<DecodingKey, &'static str> {
    let number = |member: &Option<String>| {
        let bytes = member.as_ref().and_then(|member| URL_SAFE_NO_PAD.decode(member).ok());
        let bytes = bytes.ok_or("its n or e is missing or not base64url")?;
        // Some providers write the leading zero of a signed number.
        Ok::<Vec<u8>, &'static str>(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    let (modulus, exponent) = (number(&key.n)?, number(&key.e)?);
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("its modulus does not have 2048 to 8192 bits");
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // With the exponent 1 a signature is its own message.
    if !is_odd(&modulus) || !is_odd(&exponent) || exponent.len() > 4 || exponent == [1] {
        return Err("its modulus or exponent cannot be one of RSA");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn p256(key: &Key) -> Result<DecodingKey, &'static str> {
    let (x, y) = (coordinate(&key.x)?, coordinate(&key.y)?);
    DecodingKey::from_ec_components(x, y).map_err(|_| "its coordinates cannot be read")
}

fn ed25519(key: &Key) -> Result<DecodingKey, &'static str> {
    DecodingKey::from_ed_components(coordinate(&key.x)?).map_err(|_| "its coordinate cannot be read")
}

/// A coordinate of exactly 32 bytes: longer ones belong to another curve.
fn coordinate(member: &Option<String>) -> Result<&str, &'static str> {
    let text = member.as_deref().ok_or("a coordinate is missing")?;
    let has_32_bytes = URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
    if has_32_bytes { Ok(text) } else { Err("a coordinate is not 32 bytes of base64url") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The public key of RFC 7515, A.3.
    fn p256_key(id: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": id,
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }

    /// The public key of RFC 8037, A.2.
    fn ed25519_key(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    /// A key whose modulus has this many bits.
    fn rsa_key(id: &str, bits: usize) -> Value {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        json!({"kty": "RSA", "kid": id, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn ids(keys: &[Value]) -> Vec<String> {
        let published = read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        assert_eq!(published.keys.len() + published.refused.len(), keys.len());
        let mut ids: Vec<String> = published.keys.into_keys().collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn keys_as_providers_publish_them_are_used() {
        let cognito = with(with(rsa_key("a+b/c=", 2_048), "use", json!("sig")), "alg", json!("RS256"));
        let auth0 = with(with(cognito.clone(), "kid", json!("NjVBRjY5")), "x5c", json!(["MIIC"]));
        let signed_modulus = URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat());
        let signed_number = with(rsa_key("zero", 2_048), "n", json!(signed_modulus));
        let keys = [
            cognito,
            auth0,
            signed_number,
            rsa_key("4096", 4_096),
            with(p256_key("ec"), "key_ops", json!(["verify"])),
            with(ed25519_key("ed"), "alg", json!("EdDSA")),
            with(ed25519_key("ed2"), "alg", json!("Ed25519")),
            with(ed25519_key("null"), "use", Value::Null),
        ];
        assert_eq!(ids(&keys), ["4096", "NjVBRjY5", "a+b/c=", "ec", "ed", "ed2", "null", "zero"]);
    }

    #[test]
    fn a_key_that_does_not_fit_its_use_is_refused_and_the_others_stay() {
        for bad in [
            with(p256_key("bad"), "use", json!("enc")),
            with(p256_key("bad"), "key_ops", json!(["sign"])),
            with(p256_key("bad"), "d", json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")),
            with(p256_key("bad"), "alg", json!("RS256")),
            with(p256_key("bad"), "alg", json!("ES384")),
            with(p256_key("bad"), "alg", json!("HS256")),
            with(p256_key("bad"), "crv", json!("P-521")),
            with(p256_key("bad"), "crv", json!("secp256k1")),
            with(p256_key("bad"), "x", json!(URL_SAFE_NO_PAD.encode([7; 66]))),
            with(p256_key("bad"), "y", json!("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0=")),
            with(p256_key("bad"), "y", Value::Null),
            with(p256_key("bad"), "kid", json!(5)),
            with(p256_key("bad"), "kid", json!("")),
            with(p256_key("bad"), "kid", json!("a b")),
            with(p256_key("bad"), "kid", json!("x".repeat(129))),
            with(p256_key("bad"), "kid", Value::Null),
            with(ed25519_key("bad"), "crv", json!("X25519")),
            with(ed25519_key("bad"), "crv", json!("Ed448")),
            with(ed25519_key("bad"), "x", json!(URL_SAFE_NO_PAD.encode([7; 31]))),
            with(ed25519_key("bad"), "kty", json!("EC")),
            json!({"kty": "oct", "kid": "bad", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}),
            rsa_key("bad", 2_047),
            rsa_key("bad", 1_024),
            rsa_key("bad", 8_193),
            rsa_key("bad", 24),
            with(rsa_key("bad", 2_048), "alg", json!("RS512")),
            with(rsa_key("bad", 2_048), "alg", json!("PS256")),
            with(rsa_key("bad", 2_048), "alg", json!("RSA-OAEP")),
            with(rsa_key("bad", 2_048), "e", json!("AQ")),
            with(rsa_key("bad", 2_048), "e", json!("Ag")),
            with(rsa_key("bad", 2_048), "e", json!("AQAAAAE")),
            with(rsa_key("bad", 2_048), "e", json!("")),
            with(rsa_key("bad", 2_048), "n", json!("not base64url")),
            json!({}),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(ids(&[bad.clone(), ed25519_key("good")]), ["good"], "{bad}");
        }
        // A member that appears twice would mean either value.
        let twice = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","kid":"b",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        assert!(read(twice).unwrap().keys.is_empty());
    }

    #[test]
    fn keys_with_the_same_id_are_all_refused() {
        let published = [ed25519_key("a"), p256_key("b"), rsa_key("a", 2_048), ed25519_key("a")];
        let read = read(json!({"keys": published}).to_string().as_bytes()).unwrap();
        assert_eq!(read.refused.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(read.keys.into_keys().collect::<Vec<_>>(), ["b"]);
        // One that cannot be used anyway does not count.
        assert_eq!(ids(&[ed25519_key("a"), with(ed25519_key("a"), "use", json!("enc"))]), ["a"]);
    }

    #[test]
    fn a_document_that_is_no_key_set_is_refused_as_a_whole() {
        for document in ["", "{}", "[]", "null", "<html></html>", r#"{"keys":{}}"#, r#"{"keys":null}"#, "\u{feff}{}"] {
            assert!(read(document.as_bytes()).is_err(), "{document}");
        }
        assert!(read(b"{\"keys\":[\"\xff\"]}").is_err());
        let of = |count: usize| json!({"keys": (0..count).map(|n| ed25519_key(&n.to_string())).collect::<Vec<_>>()});
        assert_eq!(read(of(50).to_string().as_bytes()).unwrap().keys.len(), 50);
        assert_eq!(read(of(51).to_string().as_bytes()).err(), Some("it has more than 50 keys"));
        assert!(read(br#"{"keys":[]}"#).unwrap().keys.is_empty());
    }
}
