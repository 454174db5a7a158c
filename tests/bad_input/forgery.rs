//! Tokens that no honest issuer signs.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::START_MS;
use serde_json::{Value, json};

/// The secret, issuer and audience of the systems in the table.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const AUDIENCE: &str = "carillon";

/// The initial time of every system, in seconds.
pub(crate) const NOW_S: i64 = START_MS / 1_000;

/// The claims of a good token of eve.
pub(crate) fn claims() -> Value {
    json!({"sub": "eve", "iat": NOW_S, "exp": NOW_S + 900, "iss": ISSUER, "aud": AUDIENCE})
}

/// The claims of a good token but for this one; null leaves it out.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// A token that is signed as the system's own are.
pub(crate) fn signed(claims: &Value) -> String {
    signed_text(&claims.to_string())
}

/// The same with claims that need not be JSON.
pub(crate) fn signed_text(claims: &str) -> String {
    hmac_token(hmac::HMAC_SHA256, r#"{"alg":"HS256","typ":"JWT"}"#, claims, SECRET.as_bytes())
}

/// A token with any header, claims and secret.
pub(crate) fn hmac_token(algorithm: hmac::Algorithm, header: &str, claims: &str, secret: &[u8]) -> String {
    let message = message(header, claims);
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

/// Header and claims of a token.
pub(crate) fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()))
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A token and its signature.
pub(crate) fn split(token: &str) -> (&str, &str) {
    token.rsplit_once('.').unwrap()
}

/// An RSA key of 2,048 bits as DER: with its algorithm (SPKI), and without (PKCS #1).
pub(crate) fn rsa_der(key: &Value) -> [Vec<u8>; 2] {
    let modulus = decode(key["n"].as_str().unwrap());
    assert_eq!(modulus.len(), 256);
    let bare = [&[0x30, 0x82, 1, 0x0a, 2, 0x82, 1, 1, 0], modulus.as_slice(), &[2, 3, 1, 0, 1]].concat();
    let algorithm = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let whole = [&[0x30, 0x82, 1, 0x22], algorithm.as_slice(), &[3, 0x82, 1, 0x0f, 0], &bare].concat();
    [whole, bare]
}

/// The PEM form of a public key in SPKI.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"))
}

/// An ES256 signature in DER instead of two numbers.
pub(crate) fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let integer = |number: &[u8]| {
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let digits = if digits[0] >= 0x80 { [&[0], digits.as_slice()].concat() } else { digits };
        [&[2, u8::try_from(digits.len()).unwrap()], digits.as_slice()].concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(numbers.len()).unwrap()], numbers.as_slice()].concat()
}

/// The other signature of the same message: the order of the P-256 group minus `s`.
pub(crate) fn other_s(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut other = signature.to_vec();
    let mut borrow = 0_i16;
    for index in (0..32).rev() {
        let digit = i16::from(ORDER[index]) - i16::from(signature[32 + index]) - borrow;
        borrow = i16::from(digit < 0);
        other[32 + index] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    other
}
