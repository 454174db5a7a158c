//! Bearer tokens: JSON Web Tokens that identify the caller.

use std::ops::Range;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Config, Secret};
use crate::error::Error;
use crate::ids::UserId;

/// How far in the future an `nbf` may be, since the issuer's clock may run ahead of this server's, in seconds.
const NOT_BEFORE_LEEWAY_S: i64 = 60;
/// The most bytes of a token: more than any legitimate one has.
const MAX_TOKEN_BYTES: usize = 8 * 1_024;

/// The owner of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The claim `sub`.
    pub user: UserId,
    /// The words of the claim `scope`.
    scopes: Vec<String>,
    /// The claim `iat`, in seconds since 1970.
    pub issued_at_s: Option<i64>,
    /// The claim `exp`, in milliseconds since 1970.
    pub token_expires_at_ms: i64,
}

impl Caller {
    /// Fails with [`Error::Forbidden`] if the token lacks a scope.
    pub fn needs(&self, scope: &'static str) -> Result<(), Error> {
        if self.scopes.iter().any(|held| held == scope) { Ok(()) } else { Err(Error::Forbidden(scope)) }
    }
}

/// Verifies bearer tokens.
pub struct Tokens {
    keys: Keys,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
}

/// Where the key of a token comes from. A published key set will be a second variant.
enum Keys {
    /// A shared secret, for HS256.
    Secret(DecodingKey),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Verifies tokens signed with `JWT_SECRET`; `None` if it is not configured.
    pub fn new(config: &Config) -> Option<Self> {
        let secret = config.jwt_secret.as_ref()?;
        let mut validation = Validation::new(Algorithm::HS256);
        // `claims` and `verify` check these: times by our clock, issuer and audience only if they are configured.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Some(Self {
            keys: Keys::Secret(DecodingKey::from_secret(secret.reveal().as_bytes())),
            validation,
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
        })
    }

    /// Verifies the value of an `Authorization` header at a time in milliseconds since 1970.
    pub fn verify(&self, authorization: Option<&str>, now_ms: i64) -> Result<Caller, Error> {
        let token = authorization.and_then(bearer).ok_or(Error::TokenMissing)?;
        let claims = self.claims(token).map_err(|reason| {
            // The caller does not learn the reason, which would help to forge a token.
            tracing::info!(reason, "token rejected");
            Error::InvalidToken
        })?;
        if claims.exp.saturating_mul(1_000) <= now_ms {
            return Err(Error::TokenExpired);
        }
        if claims.nbf.is_some_and(|nbf| nbf.saturating_sub(NOT_BEFORE_LEEWAY_S).saturating_mul(1_000) > now_ms) {
            return Err(Error::InvalidToken);
        }
        Ok(Caller {
            user: UserId::new(claims.sub).map_err(|_| Error::InvalidToken)?,
            scopes: claims.scope.unwrap_or_default().split(' ').map(str::to_owned).collect(),
            issued_at_s: claims.iat,
            token_expires_at_ms: claims.exp.saturating_mul(1_000),
        })
    }

    /// The claims of a token that is correctly signed and meant for this service; otherwise the reason, for the log.
    fn claims(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("longer than 8 KB");
        }
        let Keys::Secret(key) = &self.keys;
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| "malformed, signed with another algorithm, or not signed with our key")?;
        if decoded.header.crit.is_some() {
            return Err("unsupported critical header members");
        }
        let claims = decoded.claims;
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err("issued by another issuer");
        }
        let for_us = |audience: &String| match &claims.aud {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == audience),
            _ => false,
        };
        if !self.audience.as_ref().is_none_or(for_us) {
            return Err("issued for another audience");
        }
        Ok(claims)
    }
}

/// Signs a token with `JWT_SECRET`, for development and for services that share the secret. `scope` is empty or a list
/// of scopes with spaces between them; `validity_s` is from when until when, in seconds since 1970. The error is the
/// requirement that is not met.
pub fn sign(config: &Config, sub: &str, scope: &str, validity_s: Range<i64>) -> Result<String, &'static str> {
    let secret: &Secret = config.jwt_secret.as_ref().ok_or("JWT_SECRET is required")?;
    if scope.split(' ').any(|word| !["", "notify:send", "notify:admin"].contains(&word)) {
        return Err("scope must be notify:send, notify:admin, both, or empty");
    }
    let claims = Claims {
        sub: UserId::new(sub)
            .map_err(|_| "sub must be a user id of 1 to 256 bytes without invisible characters")?
            .as_str()
            .to_owned(),
        exp: validity_s.end,
        iat: Some(validity_s.start),
        nbf: None,
        iss: config.jwt_issuer.clone(),
        aud: config.jwt_audience.clone().map(Value::String),
        scope: (!scope.is_empty()).then(|| scope.to_owned()),
    };
    let key = EncodingKey::from_secret(secret.reveal().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|_| "the token could not be signed")
}

/// A new signing secret: 256 random bits as base64url.
pub fn new_secret() -> Result<Secret, Error> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| Error::Internal)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bits)))
}

/// The token in `Bearer <token>`; the scheme is case-insensitive (RFC 9110).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::config::Origins;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW_S: i64 = 1_800_000_000;

    fn config(more: &[(&str, &str)]) -> Config {
        let mut vars: HashMap<&str, &str> = more.iter().copied().collect();
        vars.insert("JWT_SECRET", SECRET);
        Config::read(|name| vars.get(name).map(|value| (*value).to_owned()), &[], Origins::Loopback).unwrap()
    }

    fn verify(config: &Config, token: &str) -> Result<Caller, Error> {
        Tokens::new(config).unwrap().verify(Some(&format!("Bearer {token}")), NOW_S * 1_000)
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn token(claims: &Value) -> String {
        signed(Algorithm::HS256, SECRET, claims)
    }

    #[test]
    fn a_valid_token_gives_user_scopes_and_expiry() {
        let config = config(&[]);
        let token = sign(&config, "alice", "notify:send", NOW_S..NOW_S + 60).unwrap();
        let caller = verify(&config, &token).unwrap();
        assert_eq!(caller.user.as_str(), "alice");
        assert_eq!(caller.token_expires_at_ms, (NOW_S + 60) * 1_000);
        assert!(caller.needs("notify:send").is_ok());
        assert_eq!(caller.needs("notify:admin"), Err(Error::Forbidden("notify:admin")));
    }

    #[test]
    fn a_header_without_a_bearer_token_has_no_token() {
        let tokens = Tokens::new(&config(&[])).unwrap();
        for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YWxpY2U6eA==")] {
            assert_eq!(tokens.verify(header, 0), Err(Error::TokenMissing), "{header:?}");
        }
    }

    #[test]
    fn a_token_expires_to_the_second() {
        let config = config(&[]);
        assert_eq!(verify(&config, &token(&json!({"sub": "a", "exp": NOW_S}))), Err(Error::TokenExpired));
        assert!(verify(&config, &token(&json!({"sub": "a", "exp": NOW_S + 1}))).is_ok());
        let early = |nbf: i64| verify(&config, &token(&json!({"sub": "a", "exp": NOW_S + 900, "nbf": nbf})));
        assert!(early(NOW_S + 60).is_ok());
        assert_eq!(early(NOW_S + 61), Err(Error::InvalidToken));
    }

    #[test]
    fn a_forged_or_foreign_token_is_invalid() {
        let config = config(&[]);
        let good = json!({"sub": "alice", "exp": NOW_S + 900});
        let unsigned = |algorithm: &str| {
            let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
            format!("{}.{}.", encode(json!({"alg": algorithm, "typ": "JWT"})), encode(good.clone()))
        };
        let valid = token(&good);
        let (body, signature) = valid.rsplit_once('.').unwrap();
        let mut bad = vec![
            unsigned("none"),
            unsigned("NoNe"),
            unsigned("HS256"),
            unsigned("RS256"),
            signed(Algorithm::HS256, "another secret of thirty-two bytes", &good),
            signed(Algorithm::HS384, SECRET, &good),
            signed(Algorithm::HS512, SECRET, &good),
            body.into(),
            format!("{body}."),
            format!("{valid}.x"),
            format!("{body}.{signature}="),
            format!("{valid},Bearer {valid}"),
            "x".repeat(100_000),
            "..".into(),
            "a.b.c".into(),
        ];
        let mut critical = Header::new(Algorithm::HS256);
        critical.crit = Some(vec!["x".into()]);
        bad.push(jsonwebtoken::encode(&critical, &good, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap());
        for claims in [
            json!({"exp": NOW_S + 900}),
            json!({"sub": "", "exp": NOW_S + 900}),
            json!({"sub": 7, "exp": NOW_S + 900}),
            json!({"sub": "a\n", "exp": NOW_S + 900}),
            json!({"sub": "\u{202e}a", "exp": NOW_S + 900}),
            json!({"sub": "x".repeat(300), "exp": NOW_S + 900}),
            json!({"sub": "a"}),
            json!({"sub": "a", "exp": "soon"}),
            json!({"sub": "a", "exp": 1e300}),
            json!({"sub": "a", "exp": NOW_S + 900, "scope": ["notify:send"]}),
            json!([1]),
        ] {
            bad.push(token(&claims));
        }
        for token in bad {
            assert_eq!(verify(&config, &token), Err(Error::InvalidToken), "{token:.200}");
        }
    }

    #[test]
    fn issuer_and_audience_are_checked_if_they_are_configured() {
        let config = config(&[("JWT_ISSUER", "https://id.example.com"), ("JWT_AUDIENCE", "carillon")]);
        let with = |iss: Value, aud: Value| {
            verify(&config, &token(&json!({"sub": "a", "exp": NOW_S + 9, "iss": iss, "aud": aud}))).is_ok()
        };
        assert!(with(json!("https://id.example.com"), json!("carillon")));
        assert!(with(json!("https://id.example.com"), json!(["x", "carillon"])));
        assert!(!with(json!("https://id.example.com/"), json!("carillon")));
        assert!(!with(json!("https://id.example.com"), json!(["x"])));
        assert!(!with(json!("https://id.example.com"), Value::Null));
        assert!(verify(&config, &sign(&config, "a", "", NOW_S..NOW_S + 9).unwrap()).is_ok());
    }
}
