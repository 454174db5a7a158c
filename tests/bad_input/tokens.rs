//! A. Tokens. The list asks for `/api/notifications/history`, which needs a scope; the inbox needs none.

use aws_lc_rs::hmac;
use futures_util::FutureExt;
use harness::identity_provider::{Behaviour, IdentityProvider, SigningKey};
use harness::{Answer, World};
use serde_json::{Value, json};
use shared::config::{Config, Origins};

use crate::forgery::{self, AUDIENCE, ISSUER, NOW_S, SECRET, claims, claims_with, signed};
use crate::journal;
use crate::row::{CANARY, Call, Expected, Group, Row, admin, by_gateway, call, get, invalid, refused, row, status};
use crate::socket::Socket;

const INBOX: &str = "/api/notifications";
const MISSING: Expected = refused_401("token_missing");
const INVALID: Expected = refused_401("invalid_token");

const fn refused_401(code: &'static str) -> Expected {
    refused(401, code)
}

pub(crate) fn group() -> Group {
    Group {
        letter: 'A',
        title: "Tokens",
        variables: &[("JWT_SECRET", SECRET), ("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE)],
        rows: [headers(), forged(), published(), contents(), uses()].into_iter().flatten().collect(),
    }
}

fn with(token: impl std::fmt::Display) -> Call {
    get(INBOX).bearer(token)
}

fn headers() -> Vec<Row> {
    let header = |value: &str| get(INBOX).anonymous().header("authorization", value);
    let good = || signed(&claims());
    vec![
        row("S001", "no Authorization header").call(get(INBOX).anonymous(), MISSING),
        row("S002", "an empty bearer token").calls([header("Bearer"), header("Bearer "), header("")], MISSING),
        row("S003", "another scheme").calls([header("Basic ZXZlOng="), header(&format!("Token {}", good()))], MISSING),
        row("S004", "two Authorization headers")
            .call(with(good()).header("authorization", format!("Bearer {}", good())), INVALID),
        row("S021", "a token of 9 KB and one of 100 KB")
            .note("The gateway refuses the second one before any function sees it.")
            .call(with("x".repeat(9_000)), INVALID)
            .call(with("x".repeat(100_000)), by_gateway(431)),
    ]
}

fn forged() -> Vec<Row> {
    let unsigned = |algorithm: &str| {
        let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
        format!("{}.", forgery::message(&header, &claims().to_string()))
    };
    let signed_with = |algorithm, header: &str, secret: &str| {
        forgery::hmac_token(algorithm, header, &claims().to_string(), secret.as_bytes())
    };
    let good = signed(&claims());
    let (message, signature) = forgery::split(&good);
    let (header, payload) = message.split_once('.').unwrap();
    // A signature in which the two alphabets differ.
    let differing = (0..)
        .map(|n| signed(&claims_with("jti", json!(n))))
        .find(|token| forgery::split(token).1.contains('-') && forgery::split(token).1.contains('_'))
        .unwrap();
    let (other_message, other_signature) = forgery::split(&differing);
    let standard = other_signature.replace('-', "+").replace('_', "/");
    vec![
        row("S005", "`alg: none` without a signature").call(with(unsigned("none")), INVALID),
        row("S006", "`none` in other spellings")
            .calls(["NoNe", "NONE", "nonE", "", " none"].map(|algorithm| with(unsigned(algorithm))), INVALID),
        row("S009", "HS384 where HS256 is configured, and another secret")
            .call(with(signed_with(hmac::HMAC_SHA384, r#"{"alg":"HS384"}"#, SECRET)), INVALID)
            .call(with(signed_with(hmac::HMAC_SHA512, r#"{"alg":"HS512"}"#, SECRET)), INVALID)
            .call(with(signed_with(hmac::HMAC_SHA256, r#"{"alg":"HS384"}"#, SECRET)), INVALID)
            .call(
                with(signed_with(hmac::HMAC_SHA256, r#"{"alg":"HS256"}"#, "another secret of 32 bytes......")),
                INVALID,
            ),
        row("S015", "`crit`")
            .call(with(signed_with(hmac::HMAC_SHA256, r#"{"alg":"HS256","crit":["x"]}"#, SECRET)), INVALID)
            .call(with(signed_with(hmac::HMAC_SHA256, r#"{"alg":"HS256","crit":[]}"#, SECRET)), INVALID),
        row("S018", "a signature with padding, white space or the standard alphabet")
            .call(with(&differing), status(200))
            .calls(
                [
                    format!("{message}.{signature}="),
                    format!("{message}.{} {}", &signature[..20], &signature[20..]),
                    format!("{message}.{}\t{}", &signature[..20], &signature[20..]),
                    format!("{other_message}.{standard}"),
                ]
                .map(with),
                INVALID,
            ),
        row("S019", "2, 4 and 5 segments, and empty ones").calls(
            [
                message.to_owned(),
                format!("{good}.x"),
                format!("{good}."),
                format!("{message}."),
                format!(".{payload}.{signature}"),
                format!("{header}..{signature}"),
                "..".to_owned(),
                format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            ]
            .map(with),
            INVALID,
        ),
    ]
}

fn contents() -> Vec<Row> {
    let claimed = |name, value| with(signed(&claims_with(name, value)));
    let text = |claims: &str| with(forgery::signed_text(claims));
    let until =
        |exp: &str| text(&claims_with("exp", json!(0)).to_string().replace("\"exp\":0", &format!("\"exp\":{exp}")));
    let of = |sub: Value| claimed("sub", sub);
    vec![
        row("S020", "a payload that is no JSON object, or has a member twice").calls(
            [
                text(""),
                text("x"),
                text("[1]"),
                text("null"),
                text("\u{feff}{}"),
                text(
                    &claims()
                        .to_string()
                        .replace("{\"sub\"", "{\"sub\":\"root\",\"sub\"")
                        .replace("{\"aud\"", "{\"sub\":\"root\",\"aud\""),
                ),
            ],
            INVALID,
        ),
        row("S022", "a token that expired 61 s ago, 59 s ago, and now")
            .note("The contract grants no time after the end.")
            .calls([-61, -59, 0].map(|s| claimed("exp", json!(NOW_S + s))), refused(401, "token_expired"))
            .call(claimed("exp", json!(NOW_S + 1)), status(200)),
        row("S023", "a token that is valid in 2 min")
            .call(claimed("nbf", json!(NOW_S + 120)), INVALID)
            .call(claimed("nbf", json!(NOW_S + 30)), status(200)),
        row("S024", "no end").call(claimed("exp", Value::Null), INVALID),
        row("S025", "an end that is no time")
            .calls(["1e400", "\"soon\"", "{}", "[1]", "true", "null", "\"1900000000\""].map(until), INVALID)
            .call(until("-1"), refused(401, "token_expired")),
        row("S026", "another issuer").calls(
            [json!("https://evil.example.com"), json!("https://id.example.com/"), json!([ISSUER]), Value::Null]
                .map(|issuer| claimed("iss", issuer)),
            INVALID,
        ),
        row("S027", "another audience")
            .calls(
                [json!("other"), Value::Null, json!([]), json!({}), json!(["x", 7])].map(|aud| claimed("aud", aud)),
                INVALID,
            )
            .call(claimed("aud", json!(["x", AUDIENCE])), status(200)),
        row("S028", "a subject that is no user id").calls(
            [
                Value::Null,
                json!(""),
                json!(7),
                json!("x".repeat(300)),
                json!("a\nb"),
                json!("a\u{0}"),
                json!("\u{202e}eve"),
                json!("e\u{301}"),
                json!({}),
            ]
            .map(of),
            INVALID,
        ),
        row("S029", "a tenant that is missing or deleted").left_out("one deployment serves one application"),
    ]
}

fn uses() -> Vec<Row> {
    vec![
        row("S030", "a token that was revoked").script(|_| revoked().boxed_local()),
        row("S031", "a ticket as a bearer token, and a token as a ticket").script(|world| swapped(world).boxed_local()),
        row("S032", "`userId` of somebody else on a route of one's own")
            .note("An unknown member is 422.")
            .call(crate::row::post("/api/notifications/read-all", r#"{"userId":"victim"}"#), invalid(&["userId"]))
            .call(get("/api/notifications?userId=victim"), invalid(&["userId"]))
            .call(call("DELETE", "/api/notifications?userId=victim"), refused(405, "method_not_allowed")),
        row("S033", "a secret of less than 32 bytes").script(|_| short_secret().boxed_local()),
    ]
}

async fn revoked() {
    let world = World::new().await;
    let (root, mallory, bob) = (admin(&world), world.user("mallory"), world.user("bob"));
    let ticket = mallory.ticket().await;
    let mut phone = Socket::of(&world, "mallory").await;
    let refused = bob.posts("/api/users/revoke", json!({"userId": "mallory"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    let missing = root.posts("/api/users/revoke", json!({})).await;
    assert_eq!(missing.json()["error"]["fields"], json!(["userId"]), "{}", missing.text);
    root.posts("/api/users/revoke", json!({"userId": "mallory"})).await.expect(204);

    phone.ends().await;
    drop(phone);
    assert_eq!(
        Socket::open(&world, &format!("?ticket={ticket}"), &[]).await.err().map(|refusal| refusal.status),
        Some(401)
    );
    // Every process has read the revocation by then.
    world.advances(std::time::Duration::from_secs(10));
    for (method, path) in
        [("GET", INBOX), ("GET", "/api/sync"), ("POST", "/api/ws/ticket"), ("POST", "/api/notifications/read-all")]
    {
        INVALID.check(&mallory.calls(method, path, &[], "").await, path);
    }
    bob.gets(INBOX).await.expect(200);
    // Only tokens from before.
    world.user("mallory").gets(INBOX).await.expect(200);
    world.stops().await;
}

async fn swapped(world: &World) {
    let ticket = world.user("eve").ticket().await;
    INVALID.check(&with(&ticket).send(world).await, "a ticket as a bearer token");
    let token = world.user("eve").authorization().replace("Bearer ", "");
    let refusal = Socket::open(world, &format!("?ticket={token}"), &[]).await.err().unwrap();
    assert_eq!((refusal.status, &refusal.body["error"]["code"]), (401, &json!("invalid_ticket")));
}

async fn short_secret() {
    for secret in ["", "hunter2", &"x".repeat(31)] {
        let variable = |name: &str| (name == "JWT_SECRET").then(|| secret.to_owned());
        let error = Config::read(variable, &["JWT_SECRET"], Origins::Exact(Vec::new())).unwrap_err().to_string();
        assert!(error.contains("JWT_SECRET"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("xxx"), "{error}");
    }
}

// ---- published keys ----

fn published() -> Vec<Row> {
    vec![
        row("S007", "HS256 signed with the PEM of the public key")
            .script(|_| public_key_as_secret(Form::Pem).boxed_local()),
        row("S008", "HS256 signed with the DER or the JWK of the public key")
            .script(|_| public_key_as_secret(Form::Bytes).boxed_local()),
        row("S010", "a key of the attacker's in the header").script(|_| own_key().boxed_local()),
        row("S011", "the URL of a key of the attacker's in the header").script(|_| own_key_url().boxed_local()),
        row("S012", "a `kid` that is a path, a statement, 5 KB, or not printable")
            .note("Common providers have `/` in their ids: a path may cause the one fetch, of the URL in the configuration.")
            .script(|_| strange_kid().boxed_local()),
        row("S013", "a thousand unknown keys").script(|_| unknown_keys().boxed_local()),
        row("S014", "a key that is published for another use").script(|_| other_use().boxed_local()),
        row("S016", "an ES256 signature of zeros").script(|_| zero_signature().boxed_local()),
        row("S017", "an ES256 signature in DER, and with the other `s`")
            .note("Both values of `s` are valid, as in the specification.")
            .script(|_| other_signatures().boxed_local()),
        row("S034", "keys that cannot be fetched").script(|_| provider_fails().boxed_local()),
    ]
}

/// A system that trusts a provider, which publishes these keys.
async fn trusting(keys: &[&SigningKey]) -> (World, IdentityProvider) {
    let provider = IdentityProvider::publishing(keys).await;
    let (url, issuer) = (provider.keys_url(), provider.issuer());
    let world = World::with(&[("JWT_JWKS_URL", &url), ("JWT_ISSUER", &issuer), ("JWT_AUDIENCE", AUDIENCE)]).await;
    (world, provider)
}

fn trusted(provider: &IdentityProvider) -> Value {
    json!({"sub": "eve", "iat": NOW_S, "exp": NOW_S + 86_400, "iss": provider.issuer(), "aud": AUDIENCE})
}

async fn list(world: &World, token: &str) -> Answer {
    with(token).send(world).await
}

#[derive(Clone, Copy)]
enum Form {
    Pem,
    Bytes,
}

async fn public_key_as_secret(form: Form) {
    let key = SigningKey::rsa("known");
    let (world, provider) = trusting(&[&key]).await;
    list(&world, &key.token(&trusted(&provider))).await.expect(200);
    let public = key.public();
    let [whole, bare] = forgery::rsa_der(&public);
    let secrets = match form {
        Form::Pem => vec![forgery::pem(&whole).into_bytes(), forgery::pem(&bare).into_bytes()],
        Form::Bytes => vec![whole, bare, public.to_string().into_bytes(), public["n"].as_str().unwrap().into()],
    };
    for secret in secrets {
        for end in ["", "\n"] {
            let secret = [&secret, end.as_bytes()].concat();
            let claims = trusted(&provider).to_string();
            for header in [r#"{"alg":"HS256","kid":"known"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"RS256","kid":"known"}"#]
            {
                let token = forgery::hmac_token(hmac::HMAC_SHA256, header, &claims, &secret);
                INVALID.check(&list(&world, &token).await, header);
            }
        }
    }
    world.stops().await;
}

async fn own_key() {
    let (known, own) = (SigningKey::p256("known"), SigningKey::p256("known"));
    let (world, provider) = trusting(&[&known]).await;
    for header in [
        json!({"alg": "ES256", "jwk": own.public()}),
        json!({"alg": "ES256", "kid": "known", "jwk": own.public()}),
        json!({"alg": "ES256", "kid": "known", "x5c": [forgery::encode(b"certificate")]}),
    ] {
        INVALID.check(&list(&world, &own.token_with(&header, &trusted(&provider))).await, &header.to_string());
    }
    world.stops().await;
}

async fn own_key_url() {
    let (known, own) = (SigningKey::p256("known"), SigningKey::p256("own"));
    let (world, provider) = trusting(&[&known]).await;
    let attacker = IdentityProvider::publishing(&[&own]).await;
    for kid in ["known", "own"] {
        for member in ["jku", "x5u"] {
            let header = json!({"alg": "ES256", "kid": kid, member: attacker.keys_url()});
            INVALID.check(&list(&world, &own.token_with(&header, &trusted(&provider))).await, &header.to_string());
        }
    }
    assert_eq!((attacker.fetches(), attacker.followed()), (0, 0));
    world.stops().await;
}

async fn strange_kid() {
    let known = SigningKey::p256("known");
    let (world, provider) = trusting(&[&known]).await;
    list(&world, &known.token(&trusted(&provider))).await.expect(200);
    let (fetches, place) = (provider.fetches(), journal::now());
    let (long, marked) = ("k".repeat(5_000), CANARY.to_uppercase());
    for kid in ["' OR 1=1--", &long, "kno\u{0}wn", "ключ", "", "known\n", "../../dev/null", &marked] {
        let header = json!({"alg": "ES256", "kid": kid});
        INVALID.check(&list(&world, &known.token_with(&header, &trusted(&provider))).await, kid);
        let is_well_formed = kid == "../../dev/null" || kid == marked;
        assert!(provider.fetches() <= fetches + usize::from(is_well_formed), "{kid} caused a fetch");
    }
    assert_eq!(provider.followed(), 0, "another URL was fetched");
    let log = journal::since(place);
    assert!(log.lines().all(|line| line.len() <= 1_024), "a line of the log is longer than 1 KB");
    assert!(!log.contains("dev/null") && !log.contains(&CANARY.to_uppercase()), "{log}");
    world.stops().await;
}

async fn unknown_keys() {
    let known = SigningKey::p256("known");
    let (world, provider) = trusting(&[&known]).await;
    list(&world, &known.token(&trusted(&provider))).await.expect(200);
    let fetches = provider.fetches();
    for n in 0..1_000 {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{n}")});
        INVALID.check(&list(&world, &known.token_with(&header, &trusted(&provider))).await, "an unknown key");
    }
    assert!(provider.fetches() <= fetches + 1, "{} fetches", provider.fetches() - fetches);
    list(&world, &known.token(&trusted(&provider))).await.expect(200);
    world.stops().await;
}

async fn other_use() {
    let keys = [SigningKey::p256("use"), SigningKey::p256("alg"), SigningKey::p256("kty"), SigningKey::p256("ops")];
    let good = SigningKey::p256("good");
    let (world, provider) = trusting(&[&good]).await;
    let members =
        [("use", json!("enc")), ("alg", json!("ES384")), ("kty", json!("RSA")), ("key_ops", json!(["encrypt"]))];
    let mut published = vec![good.public()];
    for (key, (member, value)) in keys.iter().zip(members) {
        let mut public = key.public();
        if member == "key_ops" {
            public.as_object_mut().unwrap().remove("use");
        }
        public[member] = value;
        published.push(public);
    }
    provider.publishes(&published);
    list(&world, &good.token(&trusted(&provider))).await.expect(200);
    for (key, published) in keys.iter().zip(&published[1..]) {
        INVALID.check(&list(&world, &key.token(&trusted(&provider))).await, &published.to_string());
    }
    world.stops().await;
}

async fn zero_signature() {
    let known = SigningKey::p256("known");
    let (world, provider) = trusting(&[&known]).await;
    let good = known.token(&trusted(&provider));
    let (message, _) = forgery::split(&good);
    for signature in [vec![0; 64], vec![0; 63], vec![0; 1], vec![0xff; 64]] {
        INVALID.check(&list(&world, &format!("{message}.{}", forgery::encode(&signature))).await, "zeros");
    }
    world.stops().await;
}

async fn other_signatures() {
    let known = SigningKey::p256("known");
    let (world, provider) = trusting(&[&known]).await;
    let good = known.token(&trusted(&provider));
    list(&world, &good).await.expect(200);
    let (message, signature) = forgery::split(&good);
    let signature = forgery::decode(signature);
    let with = |signature: &[u8]| format!("{message}.{}", forgery::encode(signature));
    INVALID.check(&list(&world, &with(&forgery::ecdsa_der(&signature))).await, "DER");
    INVALID.check(&list(&world, &with(&[&signature, [0].as_slice()].concat())).await, "a byte too many");
    list(&world, &with(&forgery::other_s(&signature))).await.expect(200);
    world.stops().await;
}

async fn provider_fails() {
    let (known, unknown) = (SigningKey::rsa("known"), SigningKey::rsa("unknown"));
    let (world, provider) = trusting(&[&known]).await;
    let (good, bad) = (known.token(&trusted(&provider)), unknown.token(&trusted(&provider)));
    list(&world, &good).await.expect(200);
    let huge = format!("{{\"keys\":[{}]}}", " ".repeat(10 * 1_024 * 1_024));
    for behaviour in [
        Behaviour::Fails(500),
        Behaviour::Sends(b"<html>Sign in</html>".to_vec()),
        Behaviour::Sends(huge.into_bytes()),
        Behaviour::Redirects,
    ] {
        let (fetches, shown) = (provider.fetches(), format!("{behaviour:.40?}"));
        provider.does(behaviour);
        // The keys are no longer fresh, and the last attempt to fetch them is long ago.
        world.advances(std::time::Duration::from_secs(11 * 60));
        list(&world, &good).await.expect(200);
        INVALID.check(&list(&world, &bad).await, &shown);
        assert!(provider.fetches() > fetches, "{shown}: nothing was fetched");
    }
    assert_eq!(provider.followed(), 0, "a redirect was followed");
    world.stops().await;
}
