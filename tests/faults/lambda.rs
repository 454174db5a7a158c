//! Lambda on this machine: sandboxes of the functions' binaries. Busy processes can be killed and frozen; calls can be
//! swallowed and repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gateway::sandboxes::{Concurrency, Log, Paused, Pool, Program, RuntimeApi};
use gateway::{Function, FunctionError, Functions, Template};
use harness::binaries::{self, Profile};
use harness::sandbox::{Process, Variables};
use serde_json::{Value, json};

/// The maximum number of sandboxes for one function; further calls wait.
const MAX_IN_FLIGHT: usize = 10;

/// The profile that the functions are built with: `FUNCTIONS=optimised`, which `make faults` sets, or that of the tests.
pub(crate) fn profile() -> Profile {
    match std::env::var("FUNCTIONS") {
        Ok(functions) if functions == "optimised" => Profile::Faults,
        _ => Profile::Dev,
    }
}

/// All functions of the template.
pub(crate) struct Lambda {
    functions: BTreeMap<String, Arc<Deployed>>,
}

/// One function.
struct Deployed {
    /// What its sandboxes run, and their pool. A deployment replaces both: sandboxes of an earlier one serve no further
    /// call.
    current: Mutex<(Program, Arc<Pool>)>,
    timeout: Duration,
    api: Arc<RuntimeApi>,
    swallows: AtomicBool,
    repeats: AtomicBool,
    /// How many repeated calls were answered differently from the first.
    different_answers: AtomicUsize,
}

impl Lambda {
    /// All functions of the template, by the name of their binary, with these environment variables. A process starts
    /// at the first call.
    pub(crate) async fn new(template: &Template, variables: impl Fn(&str) -> Variables) -> Self {
        let built = binaries::built(profile());
        let api = Arc::new(RuntimeApi::start().await.unwrap());
        let deployed = |function: &gateway::template::FunctionDefinition| {
            let name = function.binary.clone()?;
            let program = Program {
                function: name.clone(),
                binary: built[&name].clone(),
                variables: variables(&name),
                memory_mb: function.memory_mb,
            };
            let pool = pool(&program, function.timeout, &api);
            let deployed = Deployed {
                current: Mutex::new((program, pool)),
                timeout: function.timeout,
                api: Arc::clone(&api),
                swallows: AtomicBool::default(),
                repeats: AtomicBool::default(),
                different_answers: AtomicUsize::default(),
            };
            Some((name, Arc::new(deployed)))
        };
        Self { functions: template.functions.iter().filter_map(deployed).collect() }
    }

    /// The functions in the form that the gateway calls.
    pub(crate) fn functions(&self, template: &Template) -> Functions {
        let mut functions = Functions::default();
        for function in &template.functions {
            let binary = function.binary.as_ref().unwrap_or(&function.name);
            functions.insert(&function.name, self.functions[binary].clone());
        }
        functions
    }

    /// Calls a function and waits for its answer; `None` if it failed or died.
    pub(crate) async fn call(&self, function: &str, event: &Value) -> Option<Value> {
        let answer = self.functions[function].invoke(event.to_string().into()).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// The names of all functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// Deploys a function with these variables changed. Calls that have begun end as they are.
    pub(crate) fn deploy(&self, function: &str, changed: &[(&str, String)]) {
        let deployed = &self.functions[function];
        let mut current = deployed.current.lock().unwrap();
        let (program, pool) = &mut *current;
        program.variables.retain(|(name, _)| !changed.iter().any(|(replaced, _)| replaced == name));
        program.variables.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        *pool = self::pool(program, deployed.timeout, &deployed.api);
    }

    /// Kills every busy process of a function; returns how many.
    pub(crate) fn kill_busy(&self, function: &str) -> usize {
        let busy = self.functions[function].pool().busy();
        busy.iter().for_each(|process| process.kill());
        busy.len()
    }

    /// Kills every process of a function, so that the next call starts a new one.
    pub(crate) fn kill_all(&self, function: &str) {
        self.functions[function].pool().end_idle_for(Duration::ZERO);
        self.kill_busy(function);
    }

    /// Waits until no call of a function is under way. None begins while the result is held.
    pub(crate) async fn pauses(&self, function: &str) -> Paused {
        self.functions[function].pool().pause().await
    }

    /// Freezes every busy process of a function; returns them.
    pub(crate) fn freeze_busy(&self, function: &str) -> Vec<Process> {
        let busy = self.functions[function].pool().busy();
        busy.iter().for_each(|process| process.freeze());
        busy
    }

    /// Sets whether calls of a function are answered with 200 without being made.
    pub(crate) fn swallow_calls(&self, function: &str, swallows: bool) {
        self.functions[function].swallows.store(swallows, Ordering::Relaxed);
    }

    /// Sets whether every successful call of a function is made again, as Lambda does with a call whose success it does
    /// not know.
    pub(crate) fn repeat_calls(&self, function: &str, repeats: bool) {
        self.functions[function].repeats.store(repeats, Ordering::Relaxed);
    }

    /// How many repeated calls of a function were answered differently from the first.
    pub(crate) fn different_answers(&self, function: &str) -> usize {
        self.functions[function].different_answers.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Function for Deployed {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        if self.swallows.load(Ordering::Relaxed) {
            return Ok(Bytes::from_static(br#"{"statusCode":200}"#));
        }
        let answer = self.pool().invoke(event.clone()).await?;
        if self.repeats.load(Ordering::Relaxed) {
            let again = self.pool().invoke(event).await?;
            if response_of(&again) != response_of(&answer) {
                self.different_answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(answer)
    }

    fn ends_at_timeout(&self) -> bool {
        true
    }
}

/// The parts of an answer that a caller sees: status and body, without headers, which contain the request id.
fn response_of(answer: &Bytes) -> Value {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    json!([answer["statusCode"], answer["body"]])
}

impl Deployed {
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.current.lock().unwrap().1)
    }
}

fn pool(program: &Program, timeout: Duration, api: &Arc<RuntimeApi>) -> Arc<Pool> {
    // What the functions print is about the faults that are injected.
    let log = Log::plain(|_, _| {});
    Arc::new(Pool::new(program.clone(), timeout, Concurrency::Bearable(MAX_IN_FLIGHT), Arc::clone(api), log))
}
