//! The Runtime API, by which sandboxes get events and return answers, and the part of the Invoke API that functions use.
//!
//! All sandboxes are served on one port of the loopback interface. Each has a path of its own that only it knows, so no
//! page in a browser and no other program can take its events.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::invoke_api::{self, AsyncInvocation};
use super::payload::whole;
use crate::functions::FunctionError;
use crate::invocation::MAX_PAYLOAD_BYTES;
use crate::response::{self, GatewayResponse};

/// The delay before something is tried again that failed for a reason outside of this process.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(50);
/// Begins the paths of the Runtime API.
const RUNTIME: [&str; 2] = ["2018-06-01", "runtime"];
/// The type of a stream that begins with the status and the headers of an HTTP response.
const HTTP_RESPONSE: &str = "application/vnd.awslambda.http-integration-response";

/// The server of all sandboxes. It ends when this is dropped.
pub struct RuntimeApi {
    address: SocketAddr,
    served: Arc<Served>,
    server: JoinHandle<()>,
}

/// What the server knows.
struct Served {
    sandboxes: Mutex<HashMap<String, Arc<Sandboxed>>>,
    /// The names of the functions that may be invoked, and where to.
    invoked: Option<(BTreeSet<String>, mpsc::Sender<AsyncInvocation>)>,
}

/// The end of a line that is a sandbox's.
struct Sandboxed {
    events: AsyncMutex<mpsc::UnboundedReceiver<Event>>,
    reports: mpsc::UnboundedSender<Report>,
    /// The request that it works on.
    request_id: Mutex<String>,
}

/// The end of a line that is the gateway's: events go to the sandbox, and it reports what becomes of them.
pub(super) struct Line {
    events: mpsc::UnboundedSender<Event>,
    reports: mpsc::UnboundedReceiver<Report>,
    key: String,
    address: SocketAddr,
    served: Arc<Served>,
}

/// An event for a function.
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) arn: Arc<str>,
    /// When the invocation times out, in milliseconds since 1970.
    pub(super) deadline_ms: i64,
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
}

/// A call of a sandbox.
pub(super) enum Report {
    /// It waits for an event.
    Waits,
    /// Its answer to the event.
    Answered(Bytes),
    /// It begins to stream its answer.
    Streams(Stream),
    /// Its answer is an error.
    Failed(FunctionError),
    /// It could not start.
    InitFailed(FunctionError),
}

/// An answer that is being streamed.
pub(super) struct Stream {
    /// Whether it begins with the status and the headers of an HTTP response.
    pub(super) is_http: bool,
    pub(super) body: Incoming,
    /// Dropped when the body is read, which is when the sandbox goes on.
    pub(super) read: oneshot::Sender<Infallible>,
}

impl RuntimeApi {
    /// Starts a server whose sandboxes invoke no functions.
    pub async fn start() -> std::io::Result<Self> {
        Self::serve(None).await
    }

    /// Starts a server whose sandboxes may invoke these functions asynchronously. Their events go to the channel.
    pub(super) async fn invoking(
        functions: BTreeSet<String>,
        events: mpsc::Sender<AsyncInvocation>,
    ) -> std::io::Result<Self> {
        Self::serve(Some((functions, events))).await
    }

    async fn serve(invoked: Option<(BTreeSet<String>, mpsc::Sender<AsyncInvocation>)>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served = Arc::new(Served { sandboxes: Mutex::default(), invoked });
        let server = tokio::spawn(accept(listener, Arc::clone(&served)));
        Ok(Self { address, served, server })
    }

    /// A line to a new sandbox.
    pub(super) fn line(&self) -> Line {
        let (events, waiting) = mpsc::unbounded_channel();
        let (reporter, reports) = mpsc::unbounded_channel();
        let key = Uuid::new_v4().simple().to_string();
        let sandboxed = Sandboxed { events: AsyncMutex::new(waiting), reports: reporter, request_id: Mutex::default() };
        self.served.sandboxes().insert(key.clone(), Arc::new(sandboxed));
        Line { events, reports, key, address: self.address, served: Arc::clone(&self.served) }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Line {
    /// Where the sandbox calls: host, port and path, without a scheme.
    pub(super) fn api(&self) -> String {
        format!("{}/{}", self.address, self.key)
    }

    /// Hands an event to the sandbox.
    pub(super) fn deliver(&self, event: Event) {
        // The other end exists as long as this one.
        let _ = self.events.send(event);
    }

    /// The next call of the sandbox. Safe to cancel.
    pub(super) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.served.sandboxes().remove(&self.key);
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    loop {
        // Without free file handles it fails; sandboxes that end make room.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY_DELAY).await;
            continue;
        };
        // Events and answers are small, and each is waited for. If setting the option fails, it is only slower.
        let _ = stream.set_nodelay(true);
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(served.answer(request).await) });
            // The connection breaks when its sandbox ends.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Served {
    fn sandboxes(&self) -> MutexGuard<'_, HashMap<String, Arc<Sandboxed>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> GatewayResponse {
        let (head, body) = request.into_parts();
        let (key, path) = head.uri.path().trim_start_matches('/').split_once('/').unwrap_or_default();
        let Some(sandboxed) = self.sandboxes().get(key).cloned() else {
            return refusal(StatusCode::FORBIDDEN, "Forbidden", "there is no such sandbox");
        };
        let segments: Vec<&str> = path.split('/').collect();
        if let Some(segments) = segments.strip_prefix(&RUNTIME) {
            return sandboxed.answer(&head.method, segments, &head.headers, body).await;
        }
        match (&head.method, segments.as_slice()) {
            (&Method::POST, ["2015-03-31", "functions", function, "invocations"]) => {
                invoke_api::answer(self.invoked.as_ref(), function, &head.headers, body).await
            }
            _ => not_found(),
        }
    }
}

impl Sandboxed {
    async fn answer(&self, method: &Method, path: &[&str], headers: &HeaderMap, body: Incoming) -> GatewayResponse {
        match (method, path) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", request_id, _]) if *request_id != *self.request_id() => {
                refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
            }
            (&Method::POST, ["invocation", _, "response"]) => self.take_answer(headers, body).await,
            (&Method::POST, ["invocation", _, "error"]) => self.take_error(Report::Failed, headers, body).await,
            (&Method::POST, ["init", "error"]) => self.take_error(Report::InitFailed, headers, body).await,
            _ => not_found(),
        }
    }

    fn request_id(&self) -> MutexGuard<'_, String> {
        self.request_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: Report) {
        // Nobody listens to a sandbox that is about to end.
        let _ = self.reports.send(report);
    }

    /// Answers with the next event as soon as there is one.
    async fn next(&self) -> GatewayResponse {
        self.report(Report::Waits);
        let Some(event) = self.events.lock().await.recv().await else {
            return refusal(StatusCode::GONE, "Gone", "the sandbox has ended");
        };
        let mut answer = response::json_text(StatusCode::OK, event.payload);
        let mut add = |name: &'static str, value: String| {
            // Ids, an ARN and a number are printable.
            if let Ok(value) = HeaderValue::try_from(value) {
                answer.headers_mut().insert(HeaderName::from_static(name), value);
            }
        };
        add("lambda-runtime-aws-request-id", event.request_id.clone());
        add("lambda-runtime-deadline-ms", event.deadline_ms.to_string());
        add("lambda-runtime-invoked-function-arn", event.arn.to_string());
        add("lambda-runtime-trace-id", event.trace_id);
        *self.request_id() = event.request_id;
        answer
    }

    async fn take_answer(&self, headers: &HeaderMap, body: Incoming) -> GatewayResponse {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|own| own.as_bytes() == value.as_bytes());
        if is("lambda-runtime-function-response-mode", "streaming") {
            let (read, end) = oneshot::channel();
            self.report(Report::Streams(Stream { is_http: is("content-type", HTTP_RESPONSE), body, read }));
            let _ = end.await;
            return accepted();
        }
        match whole(body).await {
            Some(Ok(answer)) => self.report(Report::Answered(answer)),
            Some(Err(length_bytes)) => {
                let message = format!(
                    "Response payload size ({length_bytes} bytes) exceeded maximum allowed payload size \
                     ({MAX_PAYLOAD_BYTES} bytes)."
                );
                let error_type = "Function.ResponseSizeTooLarge";
                self.report(Report::Failed(FunctionError { error_type: error_type.into(), message: message.clone() }));
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, error_type, &message);
            }
            // It ended in the middle, which its exit tells.
            None => {}
        }
        accepted()
    }

    async fn take_error(
        &self,
        report: impl Fn(FunctionError) -> Report,
        headers: &HeaderMap,
        body: Incoming,
    ) -> GatewayResponse {
        if let Some(Ok(body)) = whole(body).await {
            let error_type = headers.get("lambda-runtime-function-error-type");
            self.report(report(error_in(&body, error_type)));
        }
        accepted()
    }
}

/// The error that a function reports: as JSON, or as any text, whose type is in a header.
pub(super) fn error_in(body: &[u8], error_type: Option<&HeaderValue>) -> FunctionError {
    serde_json::from_slice(body).unwrap_or_else(|_| FunctionError {
        error_type: error_type.and_then(|value| value.to_str().ok()).unwrap_or("Unhandled").into(),
        message: String::from_utf8_lossy(body).into_owned(),
    })
}

fn accepted() -> GatewayResponse {
    response::json(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn not_found() -> GatewayResponse {
    refusal(StatusCode::NOT_FOUND, "NotFound", "there is no such operation")
}

/// A refusal in the form of the Runtime API.
fn refusal(status: StatusCode, error_type: &str, message: &str) -> GatewayResponse {
    response::json(status, &json!({"errorMessage": message, "errorType": error_type}))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// The whole answer to a request with this header.
    async fn call_with(api: &RuntimeApi, line: &str, header: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{header}");
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn call(api: &RuntimeApi, line: &str, body: &str) -> String {
        call_with(api, line, "accept: */*", body).await
    }

    fn event(request_id: &str) -> Event {
        Event {
            request_id: request_id.into(),
            arn: "arn:aws:lambda:us-east-1:123456789012:function:f".into(),
            deadline_ms: 1_700_000_000_000,
            trace_id: "Root=1-6a5145a9-1bae89e2512ec92d5d9438a0;Sampled=0".into(),
            payload: Bytes::from_static(b"[7]"),
        }
    }

    #[tokio::test]
    async fn a_sandbox_gets_its_events_and_answers_those_only() {
        let api = RuntimeApi::start().await.unwrap();
        let mut line = api.line();
        let path = format!("/{}/2018-06-01/runtime", line.key);
        let next = format!("GET {path}/invocation/next");
        let (next, ()) = tokio::join!(call(&api, &next, ""), async {
            assert!(matches!(line.report().await, Some(Report::Waits)));
            line.deliver(event("r1"));
        });
        for expected in ["200 OK", "lambda-runtime-aws-request-id: r1", "lambda-runtime-deadline-ms: 1700000000000"] {
            assert!(next.contains(expected), "{next}");
        }
        assert!(next.ends_with("[7]"), "{next}");

        let other = call(&api, &format!("POST {path}/invocation/r2/response"), "8").await;
        assert!(other.contains("400 Bad Request") && other.contains("InvalidRequestID"), "{other}");
        let own = call(&api, &format!("POST {path}/invocation/r1/response"), "8").await;
        assert!(own.contains("202 Accepted"), "{own}");
        assert!(matches!(line.report().await, Some(Report::Answered(answer)) if answer == "8"));
        for (posted, message) in [("{\"errorType\":\"T\",\"errorMessage\":\"m\"}", "T: m"), ("m", "Unhandled: m")] {
            call(&api, &format!("POST {path}/invocation/r1/error"), posted).await;
            assert!(matches!(line.report().await, Some(Report::Failed(error)) if error.to_string() == message));
        }
        assert!(call(&api, &format!("GET {path}/other"), "").await.contains("404 Not Found"));

        // A sandbox that has ended, and programs that guess.
        drop(line);
        for path in [path.as_str(), "/2018-06-01/runtime", "//2018-06-01/runtime", ""] {
            let refused = call(&api, &format!("GET {path}/invocation/next"), "").await;
            assert!(refused.contains("403 Forbidden"), "{path}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_function_invokes_others_of_the_template_asynchronously() {
        let (events, mut queued) = mpsc::channel(1);
        let api = RuntimeApi::invoking(["drain".to_owned()].into(), events).await.unwrap();
        let line = api.line();
        let invoke = async |function: &str, kind: &str| {
            let request = format!("POST /{}/2015-03-31/functions/{function}/invocations", line.key);
            call_with(&api, &request, &format!("x-amz-invocation-type: {kind}"), "[7]").await
        };
        let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Adrain";
        for name in ["drain", "drain:live", arn] {
            let answer = invoke(name, "Event").await;
            assert!(answer.contains("202 Accepted"), "{name}: {answer}");
            let queued = queued.recv().await.unwrap();
            assert_eq!((queued.function.as_str(), &queued.event[..]), ("drain", &b"[7]"[..]));
        }
        assert!(invoke("send", "Event").await.contains("ResourceNotFoundException"));
        assert!(invoke("drain", "RequestResponse").await.contains("InvalidParameterValueException"));
        assert!(invoke("drain", "Event").await.contains("202 Accepted"));
        assert!(invoke("drain", "Event").await.contains("429 Too Many Requests"));
    }
}
