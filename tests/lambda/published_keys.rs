//! Deployed functions fetch the keys of an identity provider over TLS, from a provider with a trusted certificate only.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use harness::binaries::{self, Profile};
use harness::event;
use harness::identity_provider::SigningKey;
use harness::redis_server::Authority;
use harness::sandbox::{Sandbox, Variables, required_variables};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;

use crate::environment::with;

const ISSUER: &str = "https://id.example.com/";

/// An HTTPS server on loopback with one file, `keys.json`.
struct HttpsServer {
    process: Child,
    port: u16,
    _files: TempDir,
}

impl HttpsServer {
    fn start(authority: &Authority, keys: &Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("keys.json"), keys.to_string()).unwrap();
        let (certificate, key) = authority.issued();
        let mut process = Command::new("openssl")
            .args(["s_server", "-WWW", "-accept", "127.0.0.1:0", "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .current_dir(files.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl 3 is needed: apt-get install openssl");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.filter_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.parse().ok()).next();
        Self { process, port: port.expect("openssl did not listen"), _files: files }
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of a call to a function that rejects the token's scope before it asks any store: 403 if the token is valid.
async fn status(variables: &Variables, key: &SigningKey) -> (u64, String) {
    let now_s = Clock::system().now_ms() / 1_000;
    let claims = json!({"sub": "alice", "iss": ISSUER, "aud": "carillon", "iat": now_s, "exp": now_s + 3_600});
    let mut event = event("metrics");
    event["headers"]["authorization"] = format!("Bearer {}", key.token(&claims)).into();
    let mut sandbox = Sandbox::start(&binaries::built(Profile::Dev)["metrics"], variables).await;
    let answer = sandbox.invoke(&event).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), sandbox.log())
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_a_trusted_server_only() {
    let (authority, other) = (Authority::found(), Authority::found());
    let (rsa, unpublished) = (SigningKey::rsa("rsa"), SigningKey::p256("unpublished"));
    let server = HttpsServer::start(&authority, &json!({"keys": [rsa.public()]}));
    let mut variables = required_variables();
    variables.retain(|(name, _)| name != "JWT_SECRET");
    let url = format!("https://127.0.0.1:{}/keys.json", server.port);
    for (name, value) in [("JWT_JWKS_URL", url.as_str()), ("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", "carillon")] {
        variables = with(variables, name, value);
    }
    let trusting =
        |authority: &Authority| with(variables.clone(), "SSL_CERT_FILE", authority.certificate().to_str().unwrap());

    let (valid, log) = status(&trusting(&authority), &rsa).await;
    assert_eq!(valid, 403, "{log}");
    let (unknown, log) = status(&trusting(&authority), &unpublished).await;
    assert_eq!(unknown, 401, "{log}");
    for untrusting in [trusting(&other), variables.clone()] {
        let (unavailable, log) = status(&untrusting, &rsa).await;
        assert_eq!(unavailable, 503, "{log}");
        assert!(log.contains("the keys at JWT_JWKS_URL could not be fetched") && log.contains("certificate"), "{log}");
    }
}
