//! Lambda: real processes of the functions' binaries, one call at a time each, frozen between two calls. Busy ones can
//! be killed and frozen; calls can be swallowed and repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use gateway::{Function, FunctionError, Functions, Template};
use harness::binaries::{self, Profile};
use harness::sandbox::{Process, Sandbox, Variables};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// The most sandboxes of one function; further calls wait.
const MAX_IN_FLIGHT: usize = 10;

/// All functions of the template.
pub(crate) struct Lambda {
    pools: BTreeMap<String, Arc<Pool>>,
}

/// The sandboxes of one function.
struct Pool {
    binary: &'static std::path::Path,
    variables: Variables,
    room: Semaphore,
    idle: Mutex<Vec<Sandbox>>,
    busy: Mutex<Vec<Process>>,
    swallows: AtomicBool,
    repeats: AtomicBool,
    /// How many repeated calls were answered otherwise than the first.
    otherwise: AtomicUsize,
}

impl Lambda {
    /// Every function of the template by the name of its binary, in these surroundings. Processes start with the calls.
    pub(crate) fn new(template: &Template, variables: impl Fn(&str) -> Variables) -> Self {
        let built = binaries::built(Profile::Dev);
        let names = template.functions.iter().filter_map(|function| function.binary.clone());
        let pool = |name: String| {
            let pool = Pool {
                binary: &built[&name],
                variables: variables(&name),
                room: Semaphore::new(MAX_IN_FLIGHT),
                idle: Mutex::default(),
                busy: Mutex::default(),
                swallows: AtomicBool::default(),
                repeats: AtomicBool::default(),
                otherwise: AtomicUsize::default(),
            };
            (name, Arc::new(pool))
        };
        Self { pools: names.map(pool).collect() }
    }

    /// As the gateway calls them.
    pub(crate) fn functions(&self, template: &Template) -> Functions {
        let mut functions = Functions::default();
        for function in &template.functions {
            let binary = function.binary.as_ref().unwrap_or(&function.name);
            functions.insert(&function.name, self.pools[binary].clone());
        }
        functions
    }

    /// Calls a function, waits for its answer and returns it; `None` where it failed or died.
    pub(crate) async fn calls(&self, function: &str, event: &Value) -> Option<Value> {
        let answer = self.pools[function].clone().invoke(event.to_string().into()).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// Ends every process of a function that is at work; returns how many.
    pub(crate) fn kills_busy(&self, function: &str) -> usize {
        let busy = self.pools[function].busy.lock().unwrap();
        busy.iter().for_each(|process| process.is_killed());
        busy.len()
    }

    /// Ends every process of a function, so that the next call starts a new one.
    pub(crate) fn kills_all(&self, function: &str) {
        self.pools[function].idle.lock().unwrap().clear();
        self.kills_busy(function);
    }

    /// Freezes every process of a function that is at work; returns them.
    pub(crate) fn freezes_busy(&self, function: &str) -> Vec<Process> {
        let busy = self.pools[function].busy.lock().unwrap().clone();
        busy.iter().for_each(|process| process.freezes());
        busy
    }

    /// Whether calls of a function come to nothing and are answered as if they had been made.
    pub(crate) fn swallows(&self, function: &str, swallows: bool) {
        self.pools[function].swallows.store(swallows, Ordering::Relaxed);
    }

    /// Whether every call of a function that succeeds is made again, as one that nobody knows to have succeeded.
    pub(crate) fn repeats(&self, function: &str, repeats: bool) {
        self.pools[function].repeats.store(repeats, Ordering::Relaxed);
    }

    /// How many repeated calls of a function were answered otherwise than the first.
    pub(crate) fn otherwise(&self, function: &str) -> usize {
        self.pools[function].otherwise.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Function for Pool {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        if self.swallows.load(Ordering::Relaxed) {
            return Ok(Bytes::from_static(br#"{"statusCode":200}"#));
        }
        let answer = self.once(event.clone()).await?;
        if self.repeats.load(Ordering::Relaxed) {
            let again = self.once(event).await?;
            if said(&again) != said(&answer) {
                self.otherwise.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(answer)
    }
}

/// What a caller is told: status and body, without the headers that name the call.
fn said(answer: &Bytes) -> Value {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    json!([answer["statusCode"], answer["body"]])
}

impl Pool {
    async fn once(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let _room = self.room.acquire().await.map_err(|_| failure("Lambda.Closed", "the pool is closed"))?;
        let mut sandbox = self.sandbox().await;
        let busy = sandbox.process().map(|process| Busy::new(self, process));
        let answer = sandbox.answers(event).await;
        drop(busy);
        let Some(answer) = answer else {
            return Err(failure("Runtime.ExitError", "the process ended"));
        };
        // As Lambda does: nothing happens in it until the next call.
        sandbox.process().inspect(|process| process.freezes());
        self.idle.lock().unwrap().push(sandbox);
        answer.map_err(|error| {
            serde_json::from_slice(&error).unwrap_or_else(|_| failure("Unhandled", &String::from_utf8_lossy(&error)))
        })
    }

    /// One that rests, or a new one.
    async fn sandbox(&self) -> Sandbox {
        loop {
            let resting = self.idle.lock().unwrap().pop();
            let Some(mut sandbox) = resting else {
                return Sandbox::start_tied(self.binary, &self.variables).await;
            };
            if !sandbox.has_ended() {
                sandbox.process().inspect(|process| process.thaws());
                return sandbox;
            }
        }
    }
}

/// A process is at work, until this is dropped.
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
