//! AWS Secrets Manager on loopback: it keeps what a test gives it, and answers only requests that are signed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How the ARNs of all secrets begin.
const ARNS: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:";
/// The headers that have to be signed. Between them is the token of a role that has one.
const SIGNED: [&str; 2] = ["SignedHeaders=content-type;host;x-amz-date;", "x-amz-target, Signature="];

/// What a secret is.
#[derive(Debug, Clone)]
pub enum Kept {
    /// A text.
    Text(String),
    /// Bytes.
    Binary,
    /// Something that the caller has no right to.
    Forbidden,
}

/// A running Secrets Manager.
pub struct SecretsManager {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// By ARN.
    secrets: HashMap<String, Kept>,
    /// How many requests are answered with an error of the server before others are.
    failing: usize,
    reads: usize,
}

impl SecretsManager {
    /// One without secrets.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, server }
    }

    /// The variables by which a process reads its secrets here.
    pub fn access(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG".to_owned()),
        ]
    }

    /// The ARN of the secret with this name, whether there is one or not.
    pub fn arn(&self, name: &str) -> String {
        format!("{ARNS}{name}-AbCdEf")
    }

    /// Has a secret be something else from now on; returns its ARN.
    pub fn keeps(&self, name: &str, kept: Kept) -> String {
        self.state().secrets.insert(self.arn(name), kept);
        self.arn(name)
    }

    /// Gives a secret this text; returns its ARN.
    pub fn keeps_text(&self, name: &str, text: &str) -> String {
        self.keeps(name, Kept::Text(text.to_owned()))
    }

    /// Answers the next requests with an error of the server.
    pub fn fails(&self, requests: usize) {
        self.state().failing = requests;
    }

    /// How many requests there were.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for SecretsManager {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(request, &state).await) }
            });
            // The client ends the connection when it has seen enough.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = header("authorization");
    let is_signed = authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        && authorization.contains("/eu-west-1/secretsmanager/aws4_request, ")
        && SIGNED.iter().all(|signed| authorization.contains(signed))
        && !header("x-amz-date").is_empty();
    let is_asked = head.method == "POST"
        && head.uri.path() == "/"
        && header("content-type") == "application/x-amz-json-1.1"
        && header("x-amz-target") == "secretsmanager.GetSecretValue";
    let mut state = state.lock().unwrap();
    state.reads += 1;
    let fails = state.failing > 0;
    state.failing = state.failing.saturating_sub(1);
    let id = asked["SecretId"].as_str().unwrap_or_default();
    let (status, answer): (u16, Value) = match state.secrets.get(id) {
        _ if fails => (500, json!({ "__type": "InternalServiceError" })),
        _ if !is_signed => (400, json!({ "__type": "IncompleteSignatureException", "Message": authorization })),
        _ if !is_asked => (400, json!({ "__type": "UnknownOperationException" })),
        None => (400, json!({ "__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find it." })),
        Some(Kept::Forbidden) => (400, json!({ "__type": "AccessDeniedException", "Message": "You may not." })),
        Some(Kept::Binary) => (200, json!({ "ARN": id, "SecretBinary": "aHVudGVyMg==" })),
        Some(Kept::Text(text)) => (200, json!({ "ARN": id, "SecretString": text })),
    };
    Response::builder().status(status).body(Full::from(answer.to_string())).unwrap()
}
