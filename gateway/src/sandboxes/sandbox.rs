//! One sandbox: a process, its line to the Runtime API, and its output.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::time::timeout;

use super::failure::Failure;
use super::log::{Log, Output};
use super::process::Process;
use super::program::Program;
use super::report;
use super::runtime_api::{Line, RETRY_DELAY, Report, RuntimeApi};

/// How long a function may take until it asks for its first event, as on Lambda.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A process of a function. It is killed when this is dropped, and when the gateway ends.
pub struct Sandbox {
    pub(super) program: Arc<Program>,
    pub(super) line: Line,
    pub(super) output: Output,
    /// How long its init took, until a report has told it.
    pub(super) unreported_init: Option<Duration>,
    child: Child,
    process: Process,
    started: Instant,
    is_ready: bool,
}

/// What a sandbox does next.
pub(super) enum Happening {
    Report(Report),
    Exited(ExitStatus),
}

impl Sandbox {
    /// Starts a process, on a thread that must last as long as it.
    pub fn start(program: &Arc<Program>, api: &RuntimeApi, log: &Log) -> std::io::Result<Self> {
        let line = api.line();
        let (reader, writer) = std::io::pipe()?;
        let started = Instant::now();
        let child = program.command(&line.api(), writer)?.spawn()?;
        let process = child.id().and_then(Process::new).ok_or_else(|| std::io::Error::other("it has no process id"))?;
        let output = Output::forward(reader.into(), format!("{}[{}]", program.function, process.id()), log)?;
        let program = Arc::clone(program);
        Ok(Self { program, line, output, unreported_init: None, child, process, started, is_ready: false })
    }

    /// Waits until it asks for its first event; returns how long that took from its start. At once if it has asked
    /// before.
    pub async fn ready(&mut self) -> Result<Duration, Failure> {
        if self.is_ready {
            return Ok(Duration::ZERO);
        }
        let outcome = timeout(INIT_TIMEOUT, self.initialised()).await;
        let init = self.started.elapsed();
        match outcome.unwrap_or(Err(Failure::TimedOut(INIT_TIMEOUT))) {
            Ok(()) => {
                self.is_ready = true;
                self.unreported_init = Some(init);
                Ok(init)
            }
            Err(failure) => {
                self.end().await;
                self.output.flush().await;
                self.output.report(|| report::init_report(init, &failure.as_reported()));
                Err(failure)
            }
        }
    }

    async fn initialised(&mut self) -> Result<(), Failure> {
        match self.next().await {
            Happening::Report(Report::Waits) => Ok(()),
            Happening::Report(Report::InitFailed(error)) => Err(Failure::Reported(error)),
            // It can answer nothing yet.
            Happening::Report(_) => Err(Failure::NoAnswer),
            Happening::Exited(status) => Err(Failure::Exited(status)),
        }
    }

    /// What it does next. What it reported before it ended comes first. Safe to cancel.
    pub(super) async fn next(&mut self) -> Happening {
        loop {
            tokio::select! {
                biased;
                Some(report) = self.line.report() => return Happening::Report(report),
                status = self.child.wait() => match status {
                    Ok(status) => return Happening::Exited(status),
                    Err(error) => {
                        tracing::error!(%error, "cannot wait for a process: {error}");
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                }
            }
        }
    }

    /// Its process.
    pub(super) fn process(&self) -> Process {
        self.process
    }

    /// Whether its process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Suspends it. What it has printed is written when this returns.
    pub(super) async fn freeze(&mut self) {
        self.process.freeze();
        self.output.flush().await;
    }

    /// Kills it, and returns when it has ended.
    pub(super) async fn end(&mut self) {
        self.process.kill();
        // Fails only if it was waited for already.
        let _ = self.child.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The child itself is killed by its own drop; this is for what it has started.
        if self.child.id().is_some() {
            self.process.kill();
        }
    }
}
