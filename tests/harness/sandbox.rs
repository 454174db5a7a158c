//! The functions' binaries in sandboxes, with an environment that a test chooses: what Lambda does for them, without API
//! Gateway.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gateway::sandboxes::{Concurrency, Failure, Log, Pool, Program, RuntimeApi};
use gateway::{Function, FunctionError};
use serde_json::Value;

pub use gateway::sandboxes::{Process, Variables};

/// The timeout of every function, as in the template.
const TIMEOUT: Duration = Duration::from_secs(29);

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

/// One sandbox of a function.
pub struct Sandbox {
    pool: Pool,
    printed: Printed,
}

/// What a process has written to its standard output and error.
type Printed = Arc<Mutex<String>>;

impl Sandbox {
    /// A sandbox of a binary with these variables and the ones that Lambda itself sets, and no others. It starts with the
    /// first event.
    pub async fn start(binary: &Path, variables: &[(String, String)]) -> Self {
        let (log, printed) = recorded();
        let api = Arc::new(RuntimeApi::start().await.unwrap());
        Self { pool: Pool::new(program(binary, variables), TIMEOUT, Concurrency::Bearable(1), api, log), printed }
    }

    /// The answer to an event, or the error that the function reported. The log is complete when this returns.
    pub async fn invoke(&mut self, event: &Value) -> Result<Value, FunctionError> {
        Ok(serde_json::from_slice(&self.answers(event.to_string().into()).await?).unwrap())
    }

    /// The same, unparsed.
    pub async fn answers(&mut self, event: Bytes) -> Result<Bytes, FunctionError> {
        let answer = self.pool.invoke(event).await;
        while !self.pool.busy().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer
    }

    /// Everything that the process has written to its standard output and error.
    pub fn log(&self) -> String {
        self.printed.lock().unwrap().clone()
    }
}

/// How long a binary takes from its start until it requests its first event. Then it is killed.
pub async fn init(binary: &Path, variables: &[(String, String)]) -> Duration {
    let (init, log) = started(binary, variables).await;
    init.unwrap_or_else(|failure| panic!("{}: {failure:?}: {log}", binary.display()))
}

/// The exit code and the log of a binary that ends instead of requesting an event; the code is -1 after a signal.
pub async fn refused(binary: &Path, variables: &[(String, String)]) -> (i32, String) {
    match started(binary, variables).await {
        (Err(Failure::Exited(status)), log) => (status.code().unwrap_or(-1), log),
        (other, log) => panic!("{} did not end: {other:?}: {log}", binary.display()),
    }
}

/// What became of a start, and the log.
async fn started(binary: &Path, variables: &[(String, String)]) -> (Result<Duration, Failure>, String) {
    let (log, printed) = recorded();
    let api = RuntimeApi::start().await.unwrap();
    let mut sandbox = gateway::sandboxes::Sandbox::start(&Arc::new(program(binary, variables)), &api, &log).unwrap();
    let outcome = sandbox.ready().await;
    let log = printed.lock().unwrap().clone();
    (outcome, log)
}

fn program(binary: &Path, variables: &[(String, String)]) -> Program {
    Program {
        function: binary.file_name().unwrap().to_str().unwrap().to_owned(),
        binary: binary.to_owned(),
        variables: variables.to_vec(),
        memory_mb: 256,
    }
}

fn recorded() -> (Log, Printed) {
    let printed = Printed::default();
    let lines = Arc::clone(&printed);
    (Log::plain(move |_, line| lines.lock().unwrap().push_str(&format!("{line}\n"))), printed)
}
