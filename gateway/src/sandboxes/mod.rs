//! Functions as Lambda runs them: each in processes of its own, *sandboxes*, which are started from the binary of the
//! function, get their events over the Runtime API, and serve one invocation at a time.
//!
//! Between two invocations a sandbox is frozen, so that what a function leaves running after its answer does not run on, as
//! on Lambda. Memory is reported and not limited; a failed init is not repeated.

mod failure;
mod invocation;
mod invoke_api;
mod log;
mod payload;
mod pool;
mod process;
mod program;
mod report;
mod runtime_api;
mod sandbox;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

pub use self::failure::Failure;
use self::invoke_api::AsyncInvocation;
pub use self::log::Log;
pub use self::pool::{Concurrency, Paused, Pool};
pub use self::process::Process;
pub use self::program::{Program, Variables};
pub use self::runtime_api::RuntimeApi;
pub use self::sandbox::Sandbox;
use crate::functions::Functions;
use crate::server::Gateway;
use crate::template::{FunctionDefinition, Template};

/// How many asynchronous invocations may wait to begin.
const MAX_ASYNC_INVOCATIONS: usize = 1_000;

/// How to run the functions of a template.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the binaries.
    pub folder: PathBuf,
    /// How many sandboxes a function may have at once for which the template reserves nothing.
    pub max_sandboxes: usize,
    /// How long a sandbox may be idle until it is ended.
    pub max_idle: Duration,
}

/// The sandboxes of all functions of a template. They end when this is dropped.
pub struct Sandboxes {
    pools: BTreeMap<String, Arc<Pool>>,
    /// What functions have invoked asynchronously.
    queued: Arc<Mutex<mpsc::Receiver<AsyncInvocation>>>,
    sweeper: JoinHandle<()>,
}

/// Why the functions cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Binaries are missing.
    #[error(
        "no binary of {} in {}: build the functions with `cargo build`, or name the folder of their binaries with --functions",
        functions.join(", "), folder.display()
    )]
    NoBinary {
        /// The functions without one.
        functions: Vec<String>,
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// The value of a variable is known only after a deployment.
    #[error("{function}: the template gives {variable} no value: set it in the environment")]
    NoValue {
        /// The function.
        function: String,
        /// The variable.
        variable: String,
    },
    /// The program that ties processes to this one is missing, or too old.
    #[error("setpriv of util-linux 2.33 or later is needed: {0}")]
    NoSetpriv(String),
    /// The Runtime API has no port.
    #[error("cannot serve the Runtime API: {0}")]
    Listen(#[from] std::io::Error),
}

impl Sandboxes {
    /// Prepares sandboxes for all functions of a template, each with these variables. They start with the first
    /// invocations.
    pub async fn prepare(
        template: &Template,
        settings: Settings,
        variables: impl Fn(&FunctionDefinition) -> Result<Variables, SandboxError>,
        log: Log,
    ) -> Result<Self, SandboxError> {
        let binaries = binaries(template, &settings.folder)?;
        program::can_be_tied().await.map_err(SandboxError::NoSetpriv)?;
        let (events, queued) = mpsc::channel(MAX_ASYNC_INVOCATIONS);
        let names = template.functions.iter().map(|function| function.name.clone()).collect();
        let api = Arc::new(RuntimeApi::invoking(names, events).await?);
        let mut pools = BTreeMap::new();
        for (function, binary) in template.functions.iter().zip(binaries) {
            let program = Program {
                function: function.name.clone(),
                binary,
                variables: variables(function)?,
                memory_mb: function.memory_mb,
            };
            let limit = function
                .reserved_concurrency
                .map_or(Concurrency::Bearable(settings.max_sandboxes), Concurrency::Reserved);
            let pool = Pool::new(program, function.timeout, limit, Arc::clone(&api), log.clone());
            pools.insert(function.name.clone(), Arc::new(pool));
        }
        let sweeper = tokio::spawn(sweep(pools.values().cloned().collect(), settings.max_idle));
        Ok(Self { pools, queued: Arc::new(Mutex::new(queued)), sweeper })
    }

    /// All functions, by their names in the template.
    pub fn functions(&self) -> Functions {
        let mut functions = Functions::default();
        for (name, pool) in &self.pools {
            functions.insert(name, pool.clone());
        }
        functions
    }

    /// Begins what functions invoke asynchronously, for as long as the future is polled.
    pub fn invoke_on_demand(&self, gateway: Arc<Gateway>) -> impl Future<Output = ()> + Send + 'static {
        let queued = Arc::clone(&self.queued);
        async move {
            let mut queued = queued.lock().await;
            while let Some(AsyncInvocation { function, event }) = queued.recv().await {
                if let Err(error) = gateway.invoke_async(&function, event) {
                    tracing::warn!(%error, "{function} could not be invoked: {error}");
                }
            }
        }
    }

    /// Ends all sandboxes, and refuses further invocations.
    pub fn close(&self) {
        self.pools.values().for_each(|pool| pool.close());
    }
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.close();
    }
}

/// The binary of each function, in the order of the template.
fn binaries(template: &Template, folder: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let binary = |function: &FunctionDefinition| folder.join(function.binary.as_ref().unwrap_or(&function.name));
    let missing: Vec<String> = template
        .functions
        .iter()
        .filter(|function| !binary(function).is_file())
        .map(|function| function.name.clone())
        .collect();
    if missing.is_empty() {
        return Ok(template.functions.iter().map(binary).collect());
    }
    Err(SandboxError::NoBinary { functions: missing, folder: folder.to_owned() })
}

/// Ends sandboxes that have been idle for too long, by at most a quarter of that time too late.
async fn sweep(pools: Vec<Arc<Pool>>, max_idle: Duration) {
    loop {
        tokio::time::sleep(max_idle / 4).await;
        pools.iter().for_each(|pool| pool.end_idle_for(max_idle));
    }
}
