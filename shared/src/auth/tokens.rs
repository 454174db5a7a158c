//! Bearer tokens: JSON Web Tokens that identify the caller.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::key_set::{KeySet, KeysUnavailable};
use super::published_keys::is_key_id;
use super::renewed_secrets::RenewedSecrets;
use super::verifying_key::{VerifyingKey, of_secrets, verify_with_any};
use crate::clock::Clock;
use crate::config::{Config, Secret};
use crate::error::Error;
use crate::ids::UserId;
use crate::secrets::Renewal;

/// The longest life of a token (`exp - iat`): as long as revocations are kept, so that no token outlives one. In seconds.
pub const MAX_TOKEN_LIFE_S: i64 = 400 * 24 * 60 * 60;

/// How far in the future an `nbf` or `iat` may be, since the issuer's clock may run ahead of this server's, in seconds.
const LEEWAY_S: i64 = 60;
/// The most bytes of a token: more than any legitimate one has.
const MAX_TOKEN_BYTES: usize = 8 * 1_024;

/// The owner of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The claim `sub`.
    pub user: UserId,
    /// The words of the claim `scope`, without the configured prefix. Those without it are left out.
    scopes: Vec<String>,
    /// The claim `exp`, in milliseconds since 1970.
    pub token_expires_at_ms: i64,
    /// The claim `iat`, in seconds since 1970; a fraction is cut off.
    pub issued_at_s: Option<i64>,
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
    issuer: Option<String>,
    audience: Option<String>,
    scope_prefix: Option<String>,
}

/// Where the key of a token comes from.
enum Keys {
    /// Shared secrets, for HS256: the current one, and the previous one while it is being replaced.
    Secrets(Vec<VerifyingKey>),
    /// The same, as Secrets Manager keeps them.
    Renewed(RenewedSecrets),
    /// The keys that an identity provider publishes.
    Published(KeySet),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// Why there are no claims to look at.
enum Rejection {
    /// The token is at fault. The reason is for the log.
    Token(&'static str),
    /// The key could not be looked up, so nothing is known about the token.
    Keys(KeysUnavailable),
}

impl From<KeysUnavailable> for Rejection {
    fn from(unavailable: KeysUnavailable) -> Self {
        Self::Keys(unavailable)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Verifies tokens signed with `JWT_SECRET` or `JWT_SECRET_PREVIOUS`, or with the keys at `JWT_JWKS_URL`; `None` if
    /// neither is configured. The keys are fetched with the first token.
    pub fn new(config: &Config) -> Option<Self> {
        Self::with_renewal(config, None)
    }

    /// The same with shared secrets that may be replaced while they are in use.
    pub fn with_renewal(config: &Config, renewal: Option<Renewal>) -> Option<Self> {
        let Config { jwt_secret, jwt_secret_previous, .. } = config;
        let keys = match (jwt_secret, &config.jwks_url) {
            (Some(secret), _) => match renewal {
                Some(renewal) => Keys::Renewed(RenewedSecrets::new(config, renewal)),
                None => Keys::Secrets(of_secrets(Some(secret), jwt_secret_previous.as_ref())),
            },
            (None, Some(url)) => Keys::Published(KeySet::new(url.clone())),
            (None, None) => return None,
        };
        Some(Self {
            keys,
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
            scope_prefix: config.jwt_scope_prefix.clone(),
        })
    }

    /// Verifies the value of an `Authorization` header. Fails with [`Error::KeysUnavailable`] if the keys cannot be
    /// fetched, which takes up to 2 s. Reading secrets again takes up to 5 s, and is seldom done.
    pub async fn verify(&self, authorization: Option<&str>, clock: &Clock) -> Result<Caller, Error> {
        let token = authorization.and_then(bearer).ok_or(Error::TokenMissing)?;
        let now_ms = clock.now_ms();
        let claims = self.claims(token, clock).await.map_err(|rejection| match rejection {
            // The caller does not learn the reason, which would help to forge a token.
            Rejection::Token(reason) => invalid(reason),
            Rejection::Keys(KeysUnavailable) => Error::KeysUnavailable,
        })?;
        let issued_at_s = claims.iat.as_ref().map(whole_seconds);
        // Without `iat`, or with one in the future, the token was issued by now.
        let latest_s = now_ms.div_euclid(1_000).saturating_add(LEEWAY_S);
        if claims.exp.saturating_sub(issued_at_s.unwrap_or(latest_s).min(latest_s)) > MAX_TOKEN_LIFE_S {
            return Err(invalid("valid for more than 400 days"));
        }
        if claims.exp.saturating_mul(1_000) <= now_ms {
            return Err(Error::TokenExpired);
        }
        if claims.nbf.is_some_and(|nbf| nbf.saturating_sub(LEEWAY_S).saturating_mul(1_000) > now_ms) {
            return Err(invalid("not valid yet"));
        }
        Ok(Caller {
            user: UserId::new(claims.sub).map_err(|_| invalid("its sub is no user id"))?,
            scopes: self.scopes(&claims.scope.unwrap_or_default()),
            token_expires_at_ms: claims.exp.saturating_mul(1_000),
            issued_at_s,
        })
    }

    /// The claims of a token that is correctly signed and meant for this service.
    async fn claims(&self, token: &str, clock: &Clock) -> Result<Claims, Rejection> {
        let claims = self.signed_claims(token, clock).await?;
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(Rejection::Token("issued by another issuer"));
        }
        let for_us = |audience: &String| match &claims.aud {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == audience),
            Some(_) => false,
            // Access tokens of Cognito name the client instead.
            None => claims.client_id.as_ref() == Some(audience),
        };
        if !self.audience.as_ref().is_none_or(for_us) {
            return Err(Rejection::Token("issued for another audience"));
        }
        Ok(claims)
    }

    async fn signed_claims(&self, token: &str, clock: &Clock) -> Result<Claims, Rejection> {
        const BAD: Rejection = Rejection::Token("malformed, signed with another algorithm, or not signed with our key");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::Token("longer than 8 KB"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| BAD)?;
        if header.crit.is_some() {
            return Err(Rejection::Token("unsupported critical header members"));
        }
        match &self.keys {
            Keys::Secrets(secrets) => verify_with_any(secrets, token).ok_or(BAD),
            // A token that no secret can have signed must not have one read.
            Keys::Renewed(_) if header.alg != Algorithm::HS256 => Err(BAD),
            Keys::Renewed(secrets) => secrets.verify(token).await.ok_or(BAD),
            Keys::Published(set) => {
                // A token that no published key can have signed must not cause a fetch.
                if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
                    return Err(BAD);
                }
                let id = header.kid.filter(|id| is_key_id(id)).ok_or(Rejection::Token("without a valid kid"))?;
                let keys = set.containing(&id, clock).await?;
                let key = keys.get(&id).ok_or(Rejection::Token("signed with an unknown key"))?;
                key.verify(token).ok_or(BAD)
            }
        }
    }

    /// The scopes that this service gives a meaning. With a prefix, those without it belong to other services.
    fn scopes(&self, claim: &str) -> Vec<String> {
        let prefix = self.scope_prefix.as_deref().unwrap_or_default();
        claim.split(' ').filter_map(|scope| scope.strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

fn invalid(reason: &'static str) -> Error {
    tracing::info!(reason, "token rejected");
    Error::InvalidToken
}

/// A time of a token without its fraction, which the specification permits. Beyond all times it is the first or the last.
fn whole_seconds(time: &Number) -> i64 {
    time.as_i64().unwrap_or_else(|| time.as_f64().unwrap_or_default().floor() as i64)
}

/// Signs a token with `JWT_SECRET`, for development and for services that share the secret. `scope` is empty or a list
/// of scopes with spaces between them, without the configured prefix; `issued_at_s` and `exp_s` are in seconds since
/// 1970. The error is the requirement that is not met.
pub fn sign(config: &Config, sub: &str, scope: &str, issued_at_s: i64, exp_s: i64) -> Result<String, &'static str> {
    if config.jwks_url.is_some() {
        return Err("only the identity provider of JWT_JWKS_URL can sign tokens");
    }
    let secret: &Secret = config.jwt_secret.as_ref().ok_or("JWT_SECRET is required")?;
    if scope.split(' ').any(|word| !["", "notify:send", "notify:admin"].contains(&word)) {
        return Err("scope must be notify:send, notify:admin, both, or empty");
    }
    if exp_s.saturating_sub(issued_at_s) > MAX_TOKEN_LIFE_S {
        return Err("a token must be valid for at most 400 days");
    }
    let prefix = config.jwt_scope_prefix.as_deref().unwrap_or_default();
    let scopes: Vec<String> =
        scope.split(' ').filter(|word| !word.is_empty()).map(|word| format!("{prefix}{word}")).collect();
    let claims = Claims {
        sub: UserId::new(sub)
            .map_err(|_| "sub must be a user id of 1 to 256 bytes without invisible characters")?
            .as_str()
            .to_owned(),
        exp: exp_s,
        iat: Some(issued_at_s.into()),
        nbf: None,
        iss: config.jwt_issuer.clone(),
        aud: config.jwt_audience.clone().map(Value::String),
        client_id: None,
        scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
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

    use futures_util::FutureExt;
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

    /// With a shared secret nothing is waited for.
    fn verify_header(config: &Config, header: Option<&str>) -> Result<Caller, Error> {
        let (tokens, clock) = (Tokens::new(config).unwrap(), Clock::manual(NOW_S * 1_000));
        tokens.verify(header, &clock).now_or_never().unwrap()
    }

    fn verify(config: &Config, token: &str) -> Result<Caller, Error> {
        verify_header(config, Some(&format!("Bearer {token}")))
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
        let token = sign(&config, "alice", "notify:send", NOW_S - 5, NOW_S + 60).unwrap();
        let caller = verify(&config, &token).unwrap();
        assert_eq!(caller.user.as_str(), "alice");
        assert_eq!((caller.token_expires_at_ms, caller.issued_at_s), ((NOW_S + 60) * 1_000, Some(NOW_S - 5)));
        assert!(caller.needs("notify:send").is_ok());
        assert_eq!(caller.needs("notify:admin"), Err(Error::Forbidden("notify:admin")));
    }

    #[test]
    fn a_header_without_a_bearer_token_has_no_token() {
        let config = config(&[]);
        for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YWxpY2U6eA==")] {
            assert_eq!(verify_header(&config, header), Err(Error::TokenMissing), "{header:?}");
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
        assert!(verify(&config, &sign(&config, "a", "", NOW_S, NOW_S + 9).unwrap()).is_ok());
    }

    #[test]
    fn the_client_stands_in_for_a_missing_audience_only() {
        let config = config(&[("JWT_AUDIENCE", "carillon")]);
        let with = |more: Value| {
            let mut claims = json!({"sub": "a", "exp": NOW_S + 9});
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            verify(&config, &token(&claims)).is_ok()
        };
        assert!(with(json!({"client_id": "carillon"})));
        assert!(!with(json!({"client_id": "another"})));
        assert!(!with(json!({"client_id": "carillon", "aud": "another"})));
        assert!(!with(json!({"client_id": "carillon", "aud": []})));
        assert!(!with(json!({"client_id": ["carillon"]})));
    }

    #[test]
    fn a_prefix_is_taken_off_scopes_and_those_without_it_count_for_nothing() {
        let config = config(&[("JWT_SCOPE_PREFIX", "carillon/")]);
        let scopes = |scope: &str| {
            let caller = verify(&config, &token(&json!({"sub": "a", "exp": NOW_S + 9, "scope": scope}))).unwrap();
            (caller.needs("notify:send").is_ok(), caller.needs("notify:admin").is_ok())
        };
        assert_eq!(scopes("openid carillon/notify:send other/notify:admin"), (true, false));
        assert_eq!(scopes("notify:send carillon/carillon/notify:admin"), (false, false));
        let signed = sign(&config, "a", "notify:send notify:admin", NOW_S, NOW_S + 9).unwrap();
        let caller = verify(&config, &signed).unwrap();
        assert!(caller.needs("notify:send").is_ok() && caller.needs("notify:admin").is_ok());
    }

    #[test]
    fn the_previous_secret_verifies_while_it_is_being_replaced() {
        let old = "the secret that signed tokens before";
        let rotating = config(&[("JWT_SECRET_PREVIOUS", old)]);
        let claims = json!({"sub": "a", "exp": NOW_S + 9});
        for secret in [SECRET, old] {
            assert!(verify(&rotating, &signed(Algorithm::HS256, secret, &claims)).is_ok());
        }
        assert!(verify(&config(&[]), &signed(Algorithm::HS256, old, &claims)).is_err());
        assert!(
            verify(&rotating, &signed(Algorithm::HS256, "no secret of at least thirty-two bytes", &claims)).is_err()
        );
        assert!(verify(&rotating, &signed(Algorithm::HS512, old, &claims)).is_err());
        // The current one signs.
        assert!(verify(&config(&[]), &sign(&rotating, "a", "", NOW_S, NOW_S + 9).unwrap()).is_ok());
    }

    #[test]
    fn no_token_lives_longer_than_400_days() {
        let config = config(&[]);
        let lives = |iat: Value, exp: i64| verify(&config, &token(&json!({"sub": "a", "exp": exp, "iat": iat})));
        assert!(lives(json!(NOW_S), NOW_S + MAX_TOKEN_LIFE_S).is_ok());
        assert_eq!(lives(json!(NOW_S), NOW_S + MAX_TOKEN_LIFE_S + 1), Err(Error::InvalidToken));
        assert_eq!(lives(json!(NOW_S - 9), NOW_S - 9 + MAX_TOKEN_LIFE_S + 1), Err(Error::InvalidToken));
        // Even after its end.
        assert_eq!(lives(json!(NOW_S - MAX_TOKEN_LIFE_S - 2), NOW_S - 1), Err(Error::InvalidToken));
        assert_eq!(lives(json!(0), NOW_S + 60), Err(Error::InvalidToken));
        // It was issued by now, whatever it says.
        for iat in [Value::Null, json!(NOW_S + MAX_TOKEN_LIFE_S), json!(1e300), json!(i64::MAX)] {
            assert!(lives(iat.clone(), NOW_S + MAX_TOKEN_LIFE_S + LEEWAY_S).is_ok(), "{iat}");
            assert_eq!(lives(iat.clone(), NOW_S + MAX_TOKEN_LIFE_S + LEEWAY_S + 1), Err(Error::InvalidToken), "{iat}");
        }
        assert_eq!(lives(json!(i64::MIN), i64::MAX), Err(Error::InvalidToken));
        assert_eq!(lives(json!("now"), NOW_S + 60), Err(Error::InvalidToken));
        assert_eq!(lives(json!(1_799_999_999.75), NOW_S + 60).unwrap().issued_at_s, Some(1_799_999_999));
        assert_eq!(lives(Value::Null, NOW_S + 60).unwrap().issued_at_s, None);
        assert!(sign(&config, "a", "", NOW_S, NOW_S + MAX_TOKEN_LIFE_S + 1).is_err());
    }
}
