//! Why an invocation has no answer, in Lambda's words.

use std::process::ExitStatus;
use std::time::Duration;

use super::process::exit_text;
use super::report::{Failed, timeout_text};
use crate::functions::FunctionError;

/// Why an invocation, or the init of a sandbox, did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The function reported an error.
    Reported(FunctionError),
    /// The process ended.
    Exited(ExitStatus),
    /// It took longer than it may.
    TimedOut(Duration),
    /// The function asked for its next event without an answer to this one, or broke its stream off.
    NoAnswer,
    /// Nobody waits for the answer any more.
    Cancelled,
}

impl Failure {
    /// The type of the error that the caller gets.
    pub(super) fn error_type(&self) -> &str {
        match self {
            Self::Reported(error) => &error.error_type,
            Self::Exited(_) => "Runtime.ExitError",
            Self::TimedOut(_) => "Sandbox.Timedout",
            Self::NoAnswer => "Runtime.NoAnswer",
            Self::Cancelled => "Sandbox.Cancelled",
        }
    }

    /// What happened, without the request.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Reported(error) => error.message.clone(),
            Self::Exited(status) => exit_text(*status),
            Self::TimedOut(timeout) => timeout_text(*timeout),
            Self::NoAnswer => "Runtime asked for the next event without an answer to this one".into(),
            Self::Cancelled => "the caller has left".into(),
        }
    }

    /// The error that the caller of this request gets.
    pub(super) fn into_error(self, request_id: &str) -> FunctionError {
        match self {
            Self::Reported(error) => error,
            other => FunctionError {
                error_type: other.error_type().into(),
                message: format!("RequestId: {request_id} Error: {}", other.problem()),
            },
        }
    }

    pub(super) fn as_reported(&self) -> Failed<'_> {
        match self {
            Self::TimedOut(_) => Failed::TimedOut,
            other => Failed::Error(other.error_type()),
        }
    }

    /// Whether the sandbox can serve a further invocation.
    pub(super) fn spares_sandbox(&self) -> bool {
        matches!(self, Self::Reported(_) | Self::NoAnswer)
    }
}
