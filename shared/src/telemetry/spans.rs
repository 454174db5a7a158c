//! The spans of an invocation: itself, and below it what an operator looks for, which is what it waits for. They name functions,
//! routes and errors of this code, and nothing of what a caller sent. Each is of the level TRACE, which no log has by default, so
//! without an exporter it costs a comparison.

use tracing::field::Empty;
use tracing::{Span, trace_span};

use crate::telemetry::otlp;
use crate::telemetry::trace::{TARGET, TraceParent};
use crate::telemetry::waits::Place;

/// Whether this binary can export spans: it was built with the cargo feature `otlp`.
pub const CAN_EXPORT: bool = cfg!(feature = "otlp");
/// What to know of a collector that is configured if it cannot.
pub const CANNOT_EXPORT: &str = "it has no effect: this binary was built without the cargo feature otlp";

/// The span of an invocation, as a child of its caller's if it has one. What becomes of it is recorded at its end.
pub(crate) fn invocation(
    function: &'static str,
    method: Option<&'static str>,
    is_call: bool,
    caller: Option<TraceParent>,
) -> Span {
    let span = trace_span!(
        target: TARGET,
        parent: None,
        "invocation",
        otel.kind = if is_call { "server" } else { "internal" },
        otel.status_code = Empty,
        faas.name = function,
        faas.coldstart = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    if let Some(caller) = caller {
        otlp::adopt(&span, caller);
    }
    span
}

/// One use of a store or of the sockets, within the current span.
pub(crate) fn act(place: Place) -> Span {
    match place {
        Place::Record => trace_span!(target: TARGET, "record", otel.kind = "client"),
        Place::Moment => trace_span!(target: TARGET, "moment", otel.kind = "client"),
        Place::Pushes => trace_span!(target: TARGET, "push", otel.kind = "client"),
    }
}

/// A push of so many things that a call has left to the drain, as a child of the span of that call, which has ended.
pub fn left_push(caller: TraceParent, what: &'static str, count: u64) -> Span {
    let span = trace_span!(
        target: TARGET,
        parent: None,
        "push",
        otel.kind = "consumer",
        carillon.pushed = what,
        // What is unsigned would be exported as text.
        messaging.batch.message_count = count.cast_signed(),
    );
    otlp::adopt(&span, caller);
    span
}
