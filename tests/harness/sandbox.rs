//! A Lambda sandbox: one process of a function binary, and the Runtime API that it polls. It implements only what
//! `lambda_runtime` needs; the part of API Gateway is left to the gateway and its tests.

use std::convert::Infallible;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shared::clock::Clock;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// How long a test waits for a process.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How far ahead the deadline of every event is.
const DEADLINE_MS: i64 = 29_000;
const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// Environment variables, by name.
pub type Variables = Vec<(String, String)>;

/// Every variable that any function requires; no server listens at the addresses.
pub fn required_variables() -> Variables {
    let variables = [
        ("DATABASE_URL", "postgres://carillon@127.0.0.1:9/carillon"),
        ("REDIS_URL", "redis://127.0.0.1:9"),
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("WS_ENDPOINT", "http://127.0.0.1:9/live"),
        ("WS_URL", "ws://127.0.0.1:9/live"),
        ("ALLOWED_ORIGINS", "http://localhost:5173"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A running function.
pub struct Sandbox {
    process: Child,
    started: Instant,
    events: mpsc::UnboundedSender<Bytes>,
    reports: mpsc::UnboundedReceiver<Report>,
    log: NamedTempFile,
    server: JoinHandle<()>,
}

/// A call of the function to the Runtime API.
#[derive(Debug)]
enum Report {
    Polled(Instant),
    Answered(Bytes),
    Failed(Bytes),
}

impl Sandbox {
    /// Starts a binary with these variables and the ones that Lambda itself sets, and no others.
    pub async fn start(binary: &Path, variables: &[(String, String)]) -> Self {
        Self::spawn(Command::new(binary), binary, variables).await
    }

    /// Starts a binary that is killed when the calling thread ends, however that happens: a frozen process would
    /// otherwise stay forever.
    pub async fn start_tied(binary: &Path, variables: &[(String, String)]) -> Self {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL"]).arg(binary);
        Self::spawn(setpriv, binary, variables).await
    }

    async fn spawn(command: Command, binary: &Path, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, waiting) = mpsc::unbounded_channel();
        let (reporter, reports) = mpsc::unbounded_channel();
        let api = Arc::new(RuntimeApi { waiting: Mutex::new(waiting), reporter });
        let server = tokio::spawn(serve(listener, api));
        let log = NamedTempFile::new().unwrap();
        let started = Instant::now();
        let process = surrounded(command, binary, &address.to_string(), variables)
            .stdout(log.reopen().unwrap())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { process, started, events, reports, log, server }
    }

    /// How long the start took, from `exec` to the first request for an event.
    pub async fn polled(&mut self) -> Duration {
        match self.next().await {
            Report::Polled(at) => at - self.started,
            other => panic!("expected a poll, got {other:?}"),
        }
    }

    /// The answer to an event, or the error that the function reported.
    pub async fn invoke(&mut self, event: &Value) -> Result<Value, Value> {
        self.events.send(event.to_string().into()).unwrap();
        loop {
            match self.next().await {
                Report::Polled(_) => {}
                Report::Answered(answer) => return Ok(serde_json::from_slice(&answer).unwrap()),
                Report::Failed(error) => return Err(serde_json::from_slice(&error).unwrap()),
            }
        }
    }

    /// The answer to an event or the error that the function reported, both unparsed and without a timeout; `None` if
    /// the process ended first.
    pub async fn answers(&mut self, event: Bytes) -> Option<Result<Bytes, Bytes>> {
        self.events.send(event).ok()?;
        loop {
            tokio::select! {
                report = self.reports.recv() => match report? {
                    Report::Polled(_) => {}
                    Report::Answered(answer) => return Some(Ok(answer)),
                    Report::Failed(error) => return Some(Err(error)),
                },
                _ = self.process.wait() => return None,
            }
        }
    }

    /// The process, if it has not been waited for yet.
    pub fn process(&self) -> Option<Process> {
        self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).map(Process)
    }

    /// Whether the process has exited or was killed.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    async fn next(&mut self) -> Report {
        let report = tokio::select! {
            report = self.reports.recv() => report,
            status = self.process.wait() => panic!("the function ended with {}: {}", status.unwrap(), self.log()),
            () = tokio::time::sleep(TIMEOUT) => None,
        };
        report.unwrap_or_else(|| panic!("the function did not call the Runtime API: {}", self.log()))
    }

    /// Everything that the process has written to its standard output and error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

/// A handle to the process of a sandbox, valid while the sandbox exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(Pid);

impl Process {
    /// Kills the process at once.
    pub fn is_killed(self) {
        self.signal(Signal::KILL);
    }

    /// Suspends the process, as Lambda does between invocations.
    pub fn freezes(self) {
        self.signal(Signal::STOP);
    }

    /// Resumes the process.
    pub fn thaws(self) {
        self.signal(Signal::CONT);
    }

    fn signal(self, signal: Signal) {
        // The process may have ended in the meantime.
        let _ = kill_process(self.0, signal);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The exit code and the log of a binary that ends instead of requesting an event; the code is -1 after a signal.
pub async fn refused(binary: &Path, variables: &[(String, String)]) -> (i32, String) {
    // No Runtime API listens there, but a process that fails at startup never connects to it.
    let ended = surrounded(Command::new(binary), binary, "127.0.0.1:9", variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let ended = tokio::time::timeout(TIMEOUT, ended).await.expect("the function did not end").unwrap();
    let log = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap_or(-1), String::from_utf8_lossy(&log).into_owned())
}

/// Sets the variables of Lambda itself; `lambda_runtime` panics without the first four.
fn surrounded(mut command: Command, binary: &Path, runtime_api: &str, variables: &[(String, String)]) -> Command {
    let name = binary.file_name().unwrap().to_str().unwrap();
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/carillon")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", format!("2027/01/15/{name}[$LATEST]"))
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_SESSION_TOKEN", "local")
        .env("LAMBDA_TASK_ROOT", "/var/task")
        .env("_HANDLER", "bootstrap")
        .env("TZ", ":UTC")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

struct RuntimeApi {
    waiting: Mutex<mpsc::UnboundedReceiver<Bytes>>,
    reporter: mpsc::UnboundedSender<Report>,
}

async fn serve(listener: TcpListener, api: Arc<RuntimeApi>) {
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(api.answer(request).await) });
            // The connection breaks when a test kills the function.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl RuntimeApi {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        let invocation = path.strip_prefix("invocation/").unwrap_or_default();
        let report = match (&head.method, invocation.split_once('/')) {
            (&Method::GET, None) if invocation == "next" => return self.next().await,
            (&Method::POST, Some((REQUEST_ID, "response"))) => Report::Answered(body),
            (&Method::POST, Some((REQUEST_ID, "error"))) => Report::Failed(body),
            (&Method::POST, None) if path == "init/error" => Report::Failed(body),
            _ => return with(StatusCode::NOT_FOUND, format!("there is no {} {}", head.method, head.uri)),
        };
        // The receiver is gone after the end of the test.
        let _ = self.reporter.send(report);
        with(StatusCode::ACCEPTED, r#"{"status":"OK"}"#.to_owned())
    }

    /// Answers with the next event as soon as there is one.
    async fn next(&self) -> Response<Full<Bytes>> {
        let _ = self.reporter.send(Report::Polled(Instant::now()));
        let Some(event) = self.waiting.lock().await.recv().await else {
            return with(StatusCode::GONE, "the sandbox has ended".to_owned());
        };
        Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", REQUEST_ID)
            .header("Lambda-Runtime-Deadline-Ms", Clock::system().now_ms() + DEADLINE_MS)
            .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:f")
            .header("Lambda-Runtime-Trace-Id", "Root=1-6a5145a9-1bae89e2512ec92d5d9438a0;Sampled=0")
            .body(Full::new(event))
            .unwrap()
    }
}

fn with(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(text.into())).unwrap()
}
