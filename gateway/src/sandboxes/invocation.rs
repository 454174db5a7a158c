//! One invocation in a sandbox: from its event to the answer, and on until the function asks for the next event.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use shared::clock::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::Failure;
use super::report::{self, Report as Reported};
use super::runtime_api::{Event, Report, Stream, error_in};
use super::sandbox::{Happening, Sandbox};
use crate::functions::FunctionError;
use crate::ids;

/// What a caller gets.
pub(super) type Outcome = Result<Output, FunctionError>;

/// What a function returned.
pub(super) enum Output {
    Whole(Bytes),
    Stream {
        /// Whether it begins with the status and the headers of an HTTP response.
        is_http: bool,
        /// Parts of the stream; nothing follows an error.
        parts: mpsc::Receiver<Result<Bytes, FunctionError>>,
    },
}

/// The caller of an invocation, who may leave before it is answered.
pub(super) enum Caller {
    Waits(oneshot::Sender<Outcome>),
    /// It reads a stream.
    Reads(mpsc::Sender<Result<Bytes, FunctionError>>),
    /// It has everything.
    Answered,
}

/// What ends the wait of a caller.
pub(super) enum Answer {
    Whole(Bytes),
    Failed(FunctionError),
    /// The last part of a stream has been passed on.
    Streamed,
}

/// How passing on a stream ended.
enum Passed {
    Whole,
    /// With an error of the function, which the caller has got.
    Failed,
    /// In the middle.
    Broken,
    /// The caller has left.
    Left,
}

impl Caller {
    pub(super) fn new() -> (Self, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        (Self::Waits(answer), answered)
    }

    /// Returns when it has left before its answer.
    pub(super) async fn left(&mut self) {
        match self {
            Self::Waits(answer) => answer.closed().await,
            Self::Reads(parts) => parts.closed().await,
            Self::Answered => std::future::pending().await,
        }
    }

    /// Gives it the end of its answer.
    pub(super) fn gets(&mut self, answer: Answer) {
        let outcome = match answer {
            Answer::Whole(answer) => Ok(Output::Whole(answer)),
            Answer::Failed(error) => return self.fails(error),
            Answer::Streamed => return *self = Self::Answered,
        };
        if let Self::Waits(answer) = std::mem::replace(self, Self::Answered) {
            // If it has left, it no longer waits.
            let _ = answer.send(outcome);
        }
    }

    /// Gives it an error, unless it has its answer already.
    pub(super) fn fails(&mut self, error: FunctionError) {
        match std::mem::replace(self, Self::Answered) {
            Self::Waits(answer) => drop(answer.send(Err(error))),
            // A caller that reads slowly must not hold up the sandbox.
            Self::Reads(parts) => drop(tokio::spawn(async move { parts.send(Err(error)).await })),
            Self::Answered => {}
        }
    }

    /// Lets it read a stream.
    fn reads(&mut self, is_http: bool) {
        let (sender, parts) = mpsc::channel(1);
        if let Self::Waits(answer) = std::mem::replace(self, Self::Reads(sender)) {
            let _ = answer.send(Ok(Output::Stream { is_http, parts }));
        }
    }
}

/// An invocation that has begun.
pub(super) struct Invocation<'s> {
    sandbox: &'s mut Sandbox,
    id: &'s str,
    timeout: Duration,
    began: Instant,
}

impl<'s> Invocation<'s> {
    /// Thaws the sandbox and hands it the event.
    pub(super) fn begin(sandbox: &'s mut Sandbox, id: &'s str, payload: Bytes, timeout: Duration) -> Self {
        let now_ms = Clock::system().now_ms();
        sandbox.output.report(|| report::start(id));
        sandbox.process().thaw();
        sandbox.line.deliver(Event {
            request_id: id.to_owned(),
            arn: sandbox.program.arn().into(),
            deadline_ms: now_ms.saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)),
            trace_id: format!("{};Sampled=0", ids::trace_id(now_ms)),
            payload,
        });
        Self { sandbox, id, timeout, began: Instant::now() }
    }

    /// Waits for the answer; passes on a stream meanwhile.
    pub(super) async fn answer(&mut self, caller: &mut Caller) -> Result<Answer, Failure> {
        let deadline = self.deadline();
        let report = tokio::select! {
            report = self.report() => report?,
            () = sleep_until(deadline) => return Err(Failure::TimedOut(self.timeout)),
            () = caller.left() => return Err(Failure::Cancelled),
        };
        match report {
            Report::Answered(answer) => Ok(Answer::Whole(answer)),
            Report::Failed(error) | Report::InitFailed(error) => Ok(Answer::Failed(error)),
            Report::Waits => Err(Failure::NoAnswer),
            Report::Streams(stream) => {
                caller.reads(stream.is_http);
                let Caller::Reads(parts) = caller else { return Err(Failure::Cancelled) };
                match timeout_at(deadline, pass_on(stream, parts)).await {
                    Ok(Passed::Whole | Passed::Failed) => Ok(Answer::Streamed),
                    Ok(Passed::Left) => Err(Failure::Cancelled),
                    Ok(Passed::Broken) => Err(self.broken().await),
                    Err(_) => Err(Failure::TimedOut(self.timeout)),
                }
            }
        }
    }

    /// Waits until the function asks for its next event.
    pub(super) async fn rest(&mut self) -> Result<(), Failure> {
        let (deadline, timeout) = (self.deadline(), self.timeout);
        let resting = async {
            // Nothing else that it reports counts any more.
            while !matches!(self.report().await?, Report::Waits) {}
            Ok(())
        };
        timeout_at(deadline, resting).await.unwrap_or(Err(Failure::TimedOut(timeout)))
    }

    /// Freezes the sandbox if it can serve further invocations, and ends it otherwise. Writes what Lambda adds to the log.
    pub(super) async fn end(self, failure: Option<&Failure>) {
        let Self { sandbox, id, timeout, began } = self;
        let duration = began.elapsed();
        let peak_memory_mb = if sandbox.output.has_reports() { sandbox.process().peak_memory_mb() } else { None };
        if failure.is_none_or(Failure::spares_sandbox) {
            sandbox.freeze().await;
        } else {
            sandbox.end().await;
            sandbox.output.flush().await;
        }
        match failure {
            Some(Failure::TimedOut(_)) => {
                sandbox.output.report(|| report::timed_out(id, timeout, Clock::system().now_ms()));
            }
            Some(failure @ (Failure::Exited(_) | Failure::NoAnswer)) => {
                sandbox.output.report(|| report::exited(id, &failure.problem()));
            }
            _ => {}
        }
        let init = sandbox.unreported_init.take();
        let memory_mb = sandbox.program.memory_mb;
        sandbox.output.report(|| report::end(id));
        let failure = failure.map(Failure::as_reported);
        sandbox.output.report(|| report::report(id, &Reported { duration, init, memory_mb, peak_memory_mb, failure }));
    }

    fn deadline(&self) -> Instant {
        self.began + self.timeout
    }

    async fn report(&mut self) -> Result<Report, Failure> {
        match self.sandbox.next().await {
            Happening::Report(report) => Ok(report),
            Happening::Exited(status) => Err(Failure::Exited(status)),
        }
    }

    /// Why a stream ended in the middle: mostly because its process did.
    async fn broken(&mut self) -> Failure {
        self.rest().await.err().unwrap_or(Failure::NoAnswer)
    }
}

/// Passes on a stream, no faster than it is read.
async fn pass_on(stream: Stream, parts: &mpsc::Sender<Result<Bytes, FunctionError>>) -> Passed {
    // Dropped at the end, with which the sandbox goes on.
    let Stream { mut body, read: _read, .. } = stream;
    loop {
        let Ok(room) = parts.reserve().await else { return Passed::Left };
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = parts.closed() => return Passed::Left,
        };
        match frame {
            None => return Passed::Whole,
            Some(Err(_)) => return Passed::Broken,
            Some(Ok(frame)) => match into_part(frame) {
                Some(Ok(part)) => room.send(Ok(part)),
                Some(Err(error)) => {
                    room.send(Err(error));
                    return Passed::Failed;
                }
                None => {}
            },
        }
    }
}

/// Data, or the error with which a function ended a stream; `None` if it is neither.
fn into_part(frame: Frame<Bytes>) -> Option<Result<Bytes, FunctionError>> {
    match frame.into_data() {
        Ok(data) => (!data.is_empty()).then_some(Ok(data)),
        Err(frame) => {
            let trailers = frame.into_trailers().ok()?;
            let error_type = trailers.get("lambda-runtime-function-error-type")?;
            let body = trailers.get("lambda-runtime-function-error-body");
            let body = body.and_then(|body| STANDARD.decode(body).ok()).unwrap_or_default();
            Some(Err(error_in(&body, Some(error_type))))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_stream_may_end_with_an_error_in_its_trailers() {
        assert!(matches!(into_part(Frame::data(Bytes::from_static(b"x"))), Some(Ok(part)) if part == "x"));
        assert!(
            into_part(Frame::data(Bytes::new())).is_none() && into_part(Frame::trailers(HeaderMap::new())).is_none()
        );
        let mut trailers = HeaderMap::new();
        trailers.insert("lambda-runtime-function-error-type", "Unhandled".parse().unwrap());
        let body = STANDARD.encode(r#"{"errorType":"Store","errorMessage":"it is down"}"#);
        trailers.insert("lambda-runtime-function-error-body", body.parse().unwrap());
        let Some(Err(error)) = into_part(Frame::trailers(trailers)) else { panic!("it is an error") };
        assert_eq!(error.to_string(), "Store: it is down");
    }
}
