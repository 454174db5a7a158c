//! An identity provider on loopback: it publishes keys, as a test tells it to, and signs tokens.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long the provider waits if it hangs: longer than anybody waits for it.
const HANGING: Duration = Duration::from_secs(60);

/// How the provider answers a request for its keys.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// With the keys.
    Publishes,
    /// With this status, although with the keys.
    Fails(u16),
    /// With a redirect to `/elsewhere`, where it has the keys too, and with the keys.
    Redirects,
    /// With 200 and this body.
    Sends(Vec<u8>),
    /// Not at all.
    Hangs,
}

/// A running provider.
pub struct IdentityProvider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

struct State {
    keys: Vec<Value>,
    behaviour: Behaviour,
    fetches: usize,
    followed: usize,
}

impl IdentityProvider {
    /// A provider that publishes these keys.
    pub async fn publishing(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = keys.iter().map(|key| key.public()).collect();
        let state = State { keys, behaviour: Behaviour::Publishes, fetches: 0, followed: 0 };
        let state = Arc::new(Mutex::new(state));
        let server = tokio::spawn(serve(listener, address, state.clone()));
        Self { address, state, server }
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        issuer(self.address)
    }

    /// The URL of its keys.
    pub fn keys_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.issuer())
    }

    /// Replaces the keys.
    pub fn publishes(&self, keys: &[Value]) {
        self.state().keys = keys.to_vec();
        self.does(Behaviour::Publishes);
    }

    /// Changes how it answers.
    pub fn does(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// How often the keys were requested.
    pub fn fetches(&self) -> usize {
        self.state().fetches
    }

    /// How often a redirect was followed.
    pub fn followed(&self) -> usize {
        self.state().followed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("http://{address}/eu-central-1_Example")
}

async fn serve(listener: TcpListener, address: SocketAddr, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(request.uri().path(), address, &state).await) }
            });
            // The client ends the connection when it has seen enough.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(path: &str, address: SocketAddr, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let (behaviour, keys) = {
        let mut state = state.lock().unwrap();
        let keys = json!({ "keys": state.keys }).to_string();
        match path.strip_prefix("/eu-central-1_Example/.well-known/") {
            Some("openid-configuration") => (Behaviour::Sends(discovery_document(address).into_bytes()), keys),
            Some("jwks.json") => {
                state.fetches += 1;
                (state.behaviour.clone(), keys)
            }
            _ => {
                state.followed += 1;
                (Behaviour::Publishes, keys)
            }
        }
    };
    let with = |status: u16, body: Vec<u8>| Response::builder().status(status).body(Full::new(body.into())).unwrap();
    match behaviour {
        Behaviour::Publishes => with(200, keys.into_bytes()),
        Behaviour::Fails(status) => with(status, keys.into_bytes()),
        Behaviour::Sends(body) => with(200, body),
        Behaviour::Redirects => {
            let mut redirect = with(302, keys.into_bytes());
            redirect.headers_mut().insert("location", format!("http://{address}/elsewhere").parse().unwrap());
            redirect
        }
        Behaviour::Hangs => {
            tokio::time::sleep(HANGING).await;
            with(200, keys.into_bytes())
        }
    }
}

/// The discovery document (`/.well-known/openid-configuration`) in the shape of Cognito's.
fn discovery_document(address: SocketAddr) -> String {
    let issuer = issuer(address);
    json!({
        "authorization_endpoint": format!("http://{address}/oauth2/authorize"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "response_types_supported": ["code", "token"],
        "scopes_supported": ["openid", "email", "phone", "profile"],
        "subject_types_supported": ["public"],
        "token_endpoint": format!("http://{address}/oauth2/token"),
    })
    .to_string()
}

/// A key that signs tokens, and its id.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A key for RS256.
    pub fn rsa(id: &str) -> Self {
        Self::new(id, Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap().into()))
    }

    /// A key for ES256.
    pub fn p256(id: &str) -> Self {
        Self::new(id, Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }

    /// A key for EdDSA.
    pub fn ed25519(id: &str) -> Self {
        Self::new(id, Pair::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    fn new(id: &str, pair: Pair) -> Self {
        Self { id: id.to_owned(), pair }
    }

    /// The name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as a JSON Web Key.
    pub fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                // The DER form of a key of 2,048 bits: 9 bytes, the modulus, 5 bytes with the exponent 65,537.
                let der = pair.public_key().as_ref();
                assert_eq!(der.len(), 9 + 256 + 5);
                json!({"kty": "RSA", "n": base64(&der[9..265]), "e": "AQAB"})
            }
            Pair::P256(pair) => {
                // 4, x, y.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())}),
        };
        key["kid"] = self.id.clone().into();
        key["use"] = "sig".into();
        key["alg"] = self.algorithm().into();
        key
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    /// A token with this header, which may contradict the key.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", base64(&signature))
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
