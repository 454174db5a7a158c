//! Lambda on this machine: real processes of the functions' binaries, which serve one call at a time and are frozen
//! between calls. Busy processes can be killed and frozen; calls can be swallowed and repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use gateway::{Function, FunctionError, Functions, Template};
use harness::binaries::{self, Profile};
use harness::sandbox::{Process, Sandbox, Variables};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The maximum number of sandboxes for one function; further calls wait.
const MAX_IN_FLIGHT: u32 = 10;

/// All functions of the template.
pub(crate) struct Lambda {
    pools: BTreeMap<String, Arc<Pool>>,
}

/// The sandboxes of one function.
struct Pool {
    binary: &'static std::path::Path,
    variables: Mutex<Variables>,
    /// How many deployments there were. A sandbox of an earlier one serves no further call.
    deployments: AtomicUsize,
    permits: Semaphore,
    idle: Mutex<Vec<Sandbox>>,
    busy: Mutex<Vec<Process>>,
    swallows: AtomicBool,
    repeats: AtomicBool,
    /// How many repeated calls were answered differently from the first.
    different_answers: AtomicUsize,
}

impl Lambda {
    /// All functions of the template, by the name of their binary, with these environment variables. A process starts
    /// at the first call.
    pub(crate) fn new(template: &Template, variables: impl Fn(&str) -> Variables) -> Self {
        let built = binaries::built(Profile::Dev);
        let names = template.functions.iter().filter_map(|function| function.binary.clone());
        let pool = |name: String| {
            let pool = Pool {
                binary: &built[&name],
                variables: Mutex::new(variables(&name)),
                deployments: AtomicUsize::default(),
                permits: Semaphore::new(MAX_IN_FLIGHT as usize),
                idle: Mutex::default(),
                busy: Mutex::default(),
                swallows: AtomicBool::default(),
                repeats: AtomicBool::default(),
                different_answers: AtomicUsize::default(),
            };
            (name, Arc::new(pool))
        };
        Self { pools: names.map(pool).collect() }
    }

    /// The functions in the form that the gateway calls.
    pub(crate) fn functions(&self, template: &Template) -> Functions {
        let mut functions = Functions::default();
        for function in &template.functions {
            let binary = function.binary.as_ref().unwrap_or(&function.name);
            functions.insert(&function.name, self.pools[binary].clone());
        }
        functions
    }

    /// Calls a function and waits for its answer; `None` if it failed or died.
    pub(crate) async fn call(&self, function: &str, event: &Value) -> Option<Value> {
        let answer = self.pools[function].clone().invoke(event.to_string().into()).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// The names of all functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pools.keys().map(String::as_str)
    }

    /// Deploys a function with these variables changed. Calls that have begun end as they are.
    pub(crate) fn deploy(&self, function: &str, changed: &[(&str, String)]) {
        let pool = &self.pools[function];
        let mut variables = pool.variables.lock().unwrap();
        variables.retain(|(name, _)| !changed.iter().any(|(replaced, _)| replaced == name));
        variables.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        pool.deployments.fetch_add(1, Ordering::Relaxed);
        pool.idle.lock().unwrap().clear();
    }

    /// Kills every busy process of a function; returns how many.
    pub(crate) fn kill_busy(&self, function: &str) -> usize {
        let busy = self.pools[function].busy.lock().unwrap();
        busy.iter().for_each(|process| process.is_killed());
        busy.len()
    }

    /// Kills every process of a function, so that the next call starts a new one.
    pub(crate) fn kill_all(&self, function: &str) {
        self.pools[function].idle.lock().unwrap().clear();
        self.kill_busy(function);
    }

    /// Waits until no call of a function is under way. None begins while the result is held.
    pub(crate) async fn pauses(&self, function: &str) -> SemaphorePermit<'_> {
        self.pools[function].permits.acquire_many(MAX_IN_FLIGHT).await.expect("pools are never closed")
    }

    /// Freezes every busy process of a function; returns them.
    pub(crate) fn freeze_busy(&self, function: &str) -> Vec<Process> {
        let busy = self.pools[function].busy.lock().unwrap().clone();
        busy.iter().for_each(|process| process.freezes());
        busy
    }

    /// Sets whether calls of a function are answered with 200 without being made.
    pub(crate) fn swallow_calls(&self, function: &str, swallows: bool) {
        self.pools[function].swallows.store(swallows, Ordering::Relaxed);
    }

    /// Sets whether every successful call of a function is made again, as Lambda does with a call whose success it does
    /// not know.
    pub(crate) fn repeat_calls(&self, function: &str, repeats: bool) {
        self.pools[function].repeats.store(repeats, Ordering::Relaxed);
    }

    /// How many repeated calls of a function were answered differently from the first.
    pub(crate) fn different_answers(&self, function: &str) -> usize {
        self.pools[function].different_answers.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Function for Pool {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        if self.swallows.load(Ordering::Relaxed) {
            return Ok(Bytes::from_static(br#"{"statusCode":200}"#));
        }
        let answer = self.invoke_once(event.clone()).await?;
        if self.repeats.load(Ordering::Relaxed) {
            let again = self.invoke_once(event).await?;
            if response_of(&again) != response_of(&answer) {
                self.different_answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(answer)
    }
}

/// The parts of an answer that a caller sees: status and body, without headers, which contain the request id.
fn response_of(answer: &Bytes) -> Value {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    json!([answer["statusCode"], answer["body"]])
}

impl Pool {
    async fn invoke_once(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let _permit = self.permits.acquire().await.map_err(|_| failure("Lambda.Closed", "the pool is closed"))?;
        let deployment = self.deployments.load(Ordering::Relaxed);
        let mut sandbox = self.sandbox().await;
        let busy = sandbox.process().map(|process| Busy::new(self, process));
        let answer = sandbox.answers(event).await;
        drop(busy);
        let Some(answer) = answer else {
            return Err(failure("Runtime.ExitError", "the process ended"));
        };
        // Lambda freezes a process between calls as well.
        sandbox.process().inspect(|process| process.freezes());
        let mut idle = self.idle.lock().unwrap();
        if deployment == self.deployments.load(Ordering::Relaxed) {
            idle.push(sandbox);
        }
        drop(idle);
        answer.map_err(|error| {
            serde_json::from_slice(&error).unwrap_or_else(|_| failure("Unhandled", &String::from_utf8_lossy(&error)))
        })
    }

    /// An idle sandbox, or a new one.
    async fn sandbox(&self) -> Sandbox {
        loop {
            let reused = self.idle.lock().unwrap().pop();
            let Some(mut sandbox) = reused else {
                let variables = self.variables.lock().unwrap().clone();
                return Sandbox::start_tied(self.binary, &variables).await;
            };
            if !sandbox.has_ended() {
                sandbox.process().inspect(|process| process.thaws());
                return sandbox;
            }
        }
    }
}

/// Marks a process as busy until dropped.
struct Busy<'a> {
    pool: &'a Pool,
    process: Process,
}

impl<'a> Busy<'a> {
    fn new(pool: &'a Pool, process: Process) -> Self {
        pool.busy.lock().unwrap().push(process);
        Self { pool, process }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.pool.busy.lock().unwrap().retain(|process| *process != self.process);
    }
}

fn failure(error_type: &str, message: &str) -> FunctionError {
    FunctionError { error_type: error_type.into(), message: message.into() }
}
