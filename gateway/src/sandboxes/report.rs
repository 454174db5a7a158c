//! The lines that Lambda adds to the log of a function.

use std::time::Duration;

use crate::timestamps;

/// What a REPORT line says of an invocation.
pub(super) struct Report<'r> {
    /// From the event to the request for the next one.
    pub(super) duration: Duration,
    /// Of the first invocation of a sandbox: how long it took until it asked for an event.
    pub(super) init: Option<Duration>,
    /// The function's memory.
    pub(super) memory_mb: u64,
    /// The most memory that the sandbox has used so far, if that is known.
    pub(super) peak_memory_mb: Option<u64>,
    /// How it failed.
    pub(super) failure: Option<Failed<'r>>,
}

/// How an invocation, or an init, failed.
pub(super) enum Failed<'r> {
    TimedOut,
    /// With an error of this type.
    Error(&'r str),
}

pub(super) fn start(id: &str) -> String {
    format!("START RequestId: {id} Version: $LATEST")
}

pub(super) fn end(id: &str) -> String {
    format!("END RequestId: {id}")
}

/// What is said before the end of an invocation that timed out.
pub(super) fn timed_out(id: &str, timeout: Duration, now_ms: i64) -> String {
    format!("{} {id} {}", timestamps::with_milliseconds(now_ms), timeout_text(timeout))
}

/// What is said before the end of an invocation whose process ended.
pub(super) fn exited(id: &str, problem: &str) -> String {
    format!("RequestId: {id} Error: {problem}")
}

/// The text of a timeout, in the log and for the caller.
pub(super) fn timeout_text(timeout: Duration) -> String {
    format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
}

/// Init is billed too.
pub(super) fn report(id: &str, report: &Report<'_>) -> String {
    let billed_ms = in_ms(report.duration + report.init.unwrap_or_default()).ceil();
    let mut line = format!(
        "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {billed_ms} ms\tMemory Size: {} MB",
        in_ms(report.duration),
        report.memory_mb
    );
    if let Some(peak_mb) = report.peak_memory_mb {
        line += &format!("\tMax Memory Used: {peak_mb} MB");
    }
    if let Some(init) = report.init {
        line += &format!("\tInit Duration: {:.2} ms", in_ms(init));
    }
    line + &status(report.failure.as_ref())
}

/// The line about an init that failed. One that did not is part of the first report.
pub(super) fn init_report(init: Duration, failure: &Failed<'_>) -> String {
    format!("INIT_REPORT Init Duration: {:.2} ms\tPhase: init{}", in_ms(init), status(Some(failure)))
}

fn status(failure: Option<&Failed<'_>>) -> String {
    match failure {
        None => String::new(),
        Some(Failed::TimedOut) => "\tStatus: timeout".into(),
        Some(Failed::Error(error_type)) => format!("\tStatus: error\tError Type: {error_type}"),
    }
}

fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_form_of_lambda() {
        let mut told = Report {
            duration: Duration::from_micros(12_345),
            init: None,
            memory_mb: 256,
            peak_memory_mb: Some(18),
            failure: None,
        };
        assert_eq!(
            report("8476a536", &told),
            "REPORT RequestId: 8476a536\tDuration: 12.35 ms\tBilled Duration: 13 ms\tMemory Size: 256 MB\t\
             Max Memory Used: 18 MB"
        );
        told.init = Some(Duration::from_micros(1_700));
        told.failure = Some(Failed::TimedOut);
        assert_eq!(
            report("8476a536", &told),
            "REPORT RequestId: 8476a536\tDuration: 12.35 ms\tBilled Duration: 15 ms\tMemory Size: 256 MB\t\
             Max Memory Used: 18 MB\tInit Duration: 1.70 ms\tStatus: timeout"
        );
        (told.peak_memory_mb, told.init) = (None, None);
        told.failure = Some(Failed::Error("Runtime.ExitError"));
        assert_eq!(
            report("8476a536", &told),
            "REPORT RequestId: 8476a536\tDuration: 12.35 ms\tBilled Duration: 13 ms\tMemory Size: 256 MB\t\
             Status: error\tError Type: Runtime.ExitError"
        );
    }

    #[test]
    fn a_failed_init_and_a_timeout_have_lines_of_their_own() {
        assert_eq!(
            init_report(Duration::from_micros(2_500), &Failed::Error("Runtime.ExitError")),
            "INIT_REPORT Init Duration: 2.50 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError"
        );
        assert_eq!(
            timed_out("8476a536", Duration::from_secs(3), 1_588_277_433_036),
            "2020-04-30T20:10:33.036Z 8476a536 Task timed out after 3.00 seconds"
        );
    }
}
