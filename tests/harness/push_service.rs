//! A push service on loopback, and the browsers that subscribe at it. It keeps what it gets and answers as a test tells it to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long the service waits if it hangs: longer than anybody waits for it.
const HANGING: Duration = Duration::from_secs(60);

/// How the service answers a push.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status.
    Status(u16),
    /// With this status and the header `Retry-After`.
    RetryAfter(u16, String),
    /// With 307 to this URL.
    Redirect(String),
    /// With 201 and a body without end, as fast as it is read.
    EndlessBody,
    /// With 201 and a body of which nothing comes.
    NoBody,
    /// Not at all.
    Nothing,
    /// By closing the connection.
    Closed,
}

/// A push as the service got it.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The path and the query of its endpoint.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, encrypted.
    pub body: Bytes,
}

/// A running push service.
pub struct PushService {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

type Decide = Box<dyn FnMut(&Pushed) -> Reply + Send>;

#[derive(Default)]
struct State {
    pushed: Vec<Pushed>,
    replies: VecDeque<Reply>,
    /// Answers instead of `replies`.
    decide: Option<Decide>,
    connections: usize,
    endless_bytes: usize,
}

impl PushService {
    /// A push service that accepts every push.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, server }
    }

    /// Its host and port, as `WEB_PUSH_HOSTS` has to name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// An endpoint with this path.
    pub fn endpoint(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the answers to the next pushes, in order. The last one is that of all later pushes.
    pub fn replies(&self, replies: &[Reply]) {
        self.state().replies = replies.iter().cloned().collect();
    }

    /// Answers each push from now on as this decides.
    pub fn decides(&self, decide: impl FnMut(&Pushed) -> Reply + Send + 'static) {
        self.state().decide = Some(Box::new(decide));
    }

    /// The pushes since the last call.
    pub fn taken(&self) -> Vec<Pushed> {
        std::mem::take(&mut self.state().pushed)
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// How many bytes of endless bodies it has given out so far, of which some may wait in the buffers of the sockets.
    pub fn endless_bytes(&self) -> usize {
        self.state().endless_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Keeps a push; returns the answer to it.
    fn reply(&mut self, pushed: Pushed) -> Reply {
        let reply = match &mut self.decide {
            Some(decide) => decide(&pushed),
            None if self.replies.len() == 1 => self.replies[0].clone(),
            None => self.replies.pop_front().unwrap_or(Reply::Status(201)),
        };
        self.pushed.push(pushed);
        reply
    }
}

impl Drop for PushService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        state.lock().unwrap().connections += 1;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            // The client ends the connection when it has seen enough.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// Keeps a push and answers it. An error closes the connection.
async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Body>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "the push ended early")?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let pushed = Pushed { path, headers: head.headers, body };
    let reply = state.lock().unwrap().reply(pushed);
    let empty = || Empty::new().boxed();
    let with = |status: u16, body: Body| Response::builder().status(status).body(body).unwrap();
    let and = |mut answer: Response<Body>, name: &'static str, value: &str| {
        answer.headers_mut().insert(name, value.parse().unwrap());
        answer
    };
    Ok(match reply {
        Reply::Status(status) => with(status, Full::from("{}").boxed()),
        Reply::RetryAfter(status, wait) => and(with(status, empty()), "retry-after", &wait),
        Reply::Redirect(url) => and(with(307, empty()), "location", &url),
        Reply::EndlessBody => {
            let chunks = stream::repeat_with(move || {
                const CHUNK: [u8; 1_024] = [b'x'; 1_024];
                state.lock().unwrap().endless_bytes += CHUNK.len();
                Ok(Frame::data(Bytes::from_static(&CHUNK)))
            });
            with(201, BodyExt::boxed(StreamBody::new(chunks)))
        }
        Reply::NoBody => with(201, BodyExt::boxed(StreamBody::new(stream::pending()))),
        Reply::Nothing => {
            tokio::time::sleep(HANGING).await;
            with(201, empty())
        }
        Reply::Closed => return Err("closed"),
    })
}

impl Pushed {
    /// A header; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The claims of the token with which it was sent, which must be signed with the key that the header names, and that
    /// key, as base64url.
    pub fn sender(&self) -> (Value, String) {
        let parameters = self.header("authorization").strip_prefix("vapid t=").unwrap();
        let (token, key) = parameters.split_once(", k=").unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let public = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decoded(key));
        public.verify(message.as_bytes(), &decoded(signature)).unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
        assert_eq!(header, json!({"typ": "JWT", "alg": "ES256"}));
        (serde_json::from_slice(&decoded(claims)).unwrap(), key.to_owned())
    }
}

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A browser that has subscribed.
pub struct Browser {
    key: PrivateKey,
    p256dh: Vec<u8>,
    auth: [u8; 16],
}

impl Browser {
    /// A browser with keys of its own.
    pub fn new() -> Self {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let p256dh = key.compute_public_key().unwrap().as_ref().to_vec();
        let mut auth = [0; 16];
        aws_lc_rs::rand::fill(&mut auth).unwrap();
        Self { key, p256dh, auth }
    }

    /// Its `PushSubscription` with this endpoint, as it serialises it.
    pub fn subscription(&self, endpoint: &str) -> Value {
        let keys = json!({"p256dh": URL_SAFE_NO_PAD.encode(&self.p256dh), "auth": URL_SAFE_NO_PAD.encode(self.auth)});
        json!({"endpoint": endpoint, "expirationTime": null, "keys": keys})
    }

    /// The payload of a push to it, decrypted (RFC 8188, RFC 8291). A record that is not the last one has no meaning here.
    pub fn decrypted(&self, pushed: &Pushed) -> Vec<u8> {
        assert_eq!(pushed.header("content-encoding"), "aes128gcm");
        let (salt, rest) = pushed.body.split_at(16);
        let (record_bytes, rest) = rest.split_first_chunk::<4>().unwrap();
        let (key_bytes, rest) = rest.split_first().unwrap();
        let (sender, record) = rest.split_at(usize::from(*key_bytes));
        assert!(record.len() <= u32::from_be_bytes(*record_bytes) as usize, "more than one record");

        let info = [b"WebPush: info\0", self.p256dh.as_slice(), sender].concat();
        let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
        let secret =
            agreement::agree(&self.key, peer, (), |shared| Ok(derived(&self.auth, shared, &info, 32))).unwrap();
        let key = derived(salt, &secret, b"Content-Encoding: aes128gcm\0", 16);
        let nonce = derived(salt, &secret, b"Content-Encoding: nonce\0", 12);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let mut text = record.to_vec();
        let mut text = key.open_in_place(nonce, Aad::empty(), &mut text).unwrap().to_vec();
        // Zeros may follow the delimiter as padding.
        while text.pop_if(|last| *last == 0).is_some() {}
        assert_eq!(text.pop(), Some(2), "no delimiter of a last record");
        text
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

fn derived(salt: &[u8], secret: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = vec![0; length];
    let key: hkdf::Prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    key.expand(&[info], Length(length)).unwrap().fill(&mut bytes).unwrap();
    bytes
}
