//! The sandboxes of one function: an invocation takes an idle one, or else a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::Response;
use http::header::CONTENT_TYPE;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::failure::Failure;
use super::invocation::{Caller, Invocation, Outcome, Output};
use super::log::Log;
use super::process::Process;
use super::program::Program;
use super::runtime_api::RuntimeApi;
use super::sandbox::Sandbox;
use crate::functions::{Chunks, DEFAULT_CONTENT_TYPE, Function, FunctionError, StreamedAnswer, unstreamed};
use crate::invocation::gathered;
use crate::prelude;

/// How long an invocation waits for a sandbox that has answered and is about to be idle, rather than start a new one.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// How many sandboxes a function may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// What is reserved for it. Further invocations are refused, as on Lambda.
    Reserved(usize),
    /// What this machine can bear. Further invocations wait.
    Bearable(usize),
}

/// The sandboxes of one function. They end when this is dropped and their invocations have ended.
pub struct Pool(Arc<Shared>);

struct Shared {
    program: Arc<Program>,
    api: Arc<RuntimeApi>,
    log: Log,
    timeout: Duration,
    /// One for each sandbox that is at work.
    permits: Arc<Semaphore>,
    /// How many there are.
    most: u32,
    is_reserved: bool,
    state: Mutex<State>,
    /// Notified when a sandbox is idle, or has ended.
    returned: Notify,
}

#[derive(Default)]
struct State {
    /// The one that was idle for the shortest time comes last, and is used first.
    idle: Vec<(Sandbox, Instant)>,
    busy: Vec<Process>,
    /// How many have answered, and are not idle yet.
    finishing: usize,
    /// How many invocations wait for one of those.
    waiting: usize,
}

/// A pool that begins no invocation until this is dropped.
#[derive(Debug)]
pub struct Paused {
    _permits: Option<OwnedSemaphorePermit>,
}

/// Where an invocation finds a sandbox.
enum Found<'s> {
    Idle(Box<Sandbox>),
    /// One will be idle in a moment. The invocation is counted as waiting for it.
    Soon(Counted<'s>),
    None,
}

/// What became of a sandbox that served an invocation.
struct Served<'s> {
    is_reusable: bool,
    /// Counts it as finishing, if it has answered.
    finishing: Option<Counted<'s>>,
}

impl Pool {
    /// A pool without sandboxes: the first invocation starts one. An invocation ends after `timeout`.
    pub fn new(program: Program, timeout: Duration, limit: Concurrency, api: Arc<RuntimeApi>, log: Log) -> Self {
        let (Concurrency::Reserved(most) | Concurrency::Bearable(most)) = limit;
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Self(Arc::new(Shared {
            program: Arc::new(program),
            api,
            log,
            timeout,
            permits: Arc::new(Semaphore::new(most as usize)),
            most,
            is_reserved: matches!(limit, Concurrency::Reserved(_)),
            state: Mutex::default(),
            returned: Notify::new(),
        }))
    }

    /// The processes that serve an invocation.
    pub fn busy(&self) -> Vec<Process> {
        self.0.state().busy.clone()
    }

    /// Waits until no invocation is under way. None begins while the result is held.
    pub async fn pause(&self) -> Paused {
        let permits = Arc::clone(&self.0.permits);
        // Closed permits are held by nobody, and given to nobody.
        Paused { _permits: permits.acquire_many_owned(self.0.most).await.ok() }
    }

    /// Ends the sandboxes that have been idle for so long.
    pub fn end_idle_for(&self, duration: Duration) {
        let now = Instant::now();
        self.0.state().idle.retain(|(_, since)| now.duration_since(*since) < duration);
    }

    /// Ends all sandboxes and refuses further invocations.
    pub(super) fn close(&self) {
        self.0.permits.close();
        self.end_idle_for(Duration::ZERO);
        self.busy().into_iter().for_each(Process::kill);
    }

    async fn call(&self, event: Bytes) -> Outcome {
        let permits = Arc::clone(&self.0.permits);
        let permit = match self.0.is_reserved {
            false => permits.acquire_owned().await.map_err(|_| stopped())?,
            true => permits.try_acquire_owned().map_err(|_| failure("TooManyRequestsException", "Rate Exceeded."))?,
        };
        let (caller, answered) = Caller::new();
        // In a task of its own, since the sandbox is at work beyond the answer.
        tokio::spawn(Arc::clone(&self.0).serve(event, caller, permit));
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

#[async_trait::async_trait]
impl Function for Pool {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        match self.call(event).await? {
            Output::Whole(answer) => Ok(answer),
            // Behind a route that does not stream, the client gets the whole stream, as on AWS.
            Output::Stream { parts, .. } => gathered(chunks(parts)).await,
        }
    }

    async fn invoke_streaming(&self, event: Bytes, _timeout: Duration) -> Result<StreamedAnswer, FunctionError> {
        match self.call(event).await? {
            Output::Whole(answer) => Ok(unstreamed(answer)),
            Output::Stream { is_http: true, parts } => prelude::read(chunks(parts)).await,
            Output::Stream { is_http: false, parts } => {
                let mut answer = Response::new(chunks(parts));
                answer.headers_mut().insert(CONTENT_TYPE, DEFAULT_CONTENT_TYPE);
                Ok(answer)
            }
        }
    }

    fn ends_at_timeout(&self) -> bool {
        true
    }
}

fn chunks(parts: mpsc::Receiver<Result<Bytes, FunctionError>>) -> Chunks {
    stream::unfold(parts, |mut parts| async move { parts.recv().await.map(|part| (part, parts)) }).boxed()
}

impl Shared {
    /// Serves one invocation, and keeps the sandbox for the next one if that is possible.
    async fn serve(self: Arc<Self>, event: Bytes, mut caller: Caller, permit: OwnedSemaphorePermit) {
        let id = Uuid::new_v4().to_string();
        let found = tokio::select! {
            found = self.sandbox() => found,
            () = caller.left() => return,
        };
        let mut sandbox = match found {
            Ok(sandbox) => sandbox,
            Err(error) => {
                let problem = format!("RequestId: {id} Error: {}: {error}", self.program.binary.display());
                return caller.fails(failure("Runtime.InvalidEntrypoint", &problem));
            }
        };
        let busy = Busy::new(&self, sandbox.process());
        let served = self.invoke(&mut sandbox, &id, event, caller).await;
        drop(busy);
        if served.is_reusable && !self.permits.is_closed() {
            self.state().idle.push((sandbox, Instant::now()));
        }
        drop(served.finishing);
        self.returned.notify_one();
        drop(permit);
    }

    async fn invoke(&self, sandbox: &mut Sandbox, id: &str, event: Bytes, mut caller: Caller) -> Served<'_> {
        let ready = tokio::select! {
            ready = sandbox.ready() => ready,
            () = caller.left() => Err(Failure::Cancelled),
        };
        if let Err(failure) = ready {
            caller.fails(failure.into_error(id));
            return Served { is_reusable: false, finishing: None };
        }
        let mut invocation = Invocation::begin(sandbox, id, event, self.timeout);
        let (finishing, failure) = match invocation.answer(&mut caller).await {
            Ok(answer) => {
                // Before the caller can make its next call.
                let finishing = Counted::add(self, |state| &mut state.finishing);
                caller.gets(answer);
                (Some(finishing), invocation.rest().await.err())
            }
            Err(failure) => (None, Some(failure)),
        };
        invocation.end(failure.as_ref()).await;
        let is_reusable = failure.as_ref().is_none_or(Failure::spares_sandbox);
        if let Some(failure) = failure {
            caller.fails(failure.into_error(id));
        }
        Served { is_reusable, finishing }
    }

    /// An idle sandbox, or a new one.
    async fn sandbox(&self) -> std::io::Result<Sandbox> {
        let mut may_wait = true;
        loop {
            let _waiting = match self.find(may_wait) {
                Found::Idle(sandbox) => return Ok(*sandbox),
                Found::Soon(waiting) => waiting,
                Found::None => return Sandbox::start(&self.program, &self.api, &self.log),
            };
            may_wait = timeout(IDLE_WAIT, self.returned.notified()).await.is_ok();
        }
    }

    fn find(&self, may_wait: bool) -> Found<'_> {
        let mut state = self.state();
        while let Some((mut sandbox, _)) = state.idle.pop() {
            if !sandbox.has_ended() {
                return Found::Idle(Box::new(sandbox));
            }
        }
        if !may_wait || state.waiting >= state.finishing {
            return Found::None;
        }
        state.waiting += 1;
        Found::Soon(Counted { shared: self, count: |state| &mut state.waiting })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a process in the list of those at work.
struct Busy<'s> {
    shared: &'s Shared,
    process: Process,
}

impl<'s> Busy<'s> {
    fn new(shared: &'s Shared, process: Process) -> Self {
        shared.state().busy.push(process);
        Self { shared, process }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.shared.state().busy.retain(|process| *process != self.process);
    }
}

/// One that is part of a count of the state until this is dropped.
struct Counted<'s> {
    shared: &'s Shared,
    count: fn(&mut State) -> &mut usize,
}

impl<'s> Counted<'s> {
    fn add(shared: &'s Shared, count: fn(&mut State) -> &mut usize) -> Self {
        *count(&mut shared.state()) += 1;
        Self { shared, count }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *(self.count)(&mut self.shared.state()) -= 1;
    }
}

fn stopped() -> FunctionError {
    failure("Runtime.ExitError", "the gateway has stopped")
}

fn failure(error_type: &str, message: &str) -> FunctionError {
    FunctionError { error_type: error_type.into(), message: message.into() }
}
