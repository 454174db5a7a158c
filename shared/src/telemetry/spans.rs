//! The spans that are exported: one for each invocation, with a child for each use of a store or of the sockets. Their attributes
//! are names of this code, never anything that a caller sent. All are of the level TRACE, which logs leave out by default, so a
//! span that is not exported costs one comparison.

use tracing::field::Empty;
use tracing::{Span, trace_span};

use crate::telemetry::otlp;
use crate::telemetry::trace::{TARGET, TraceParent};
use crate::telemetry::waits::Place;

/// Whether this binary can export spans: it was built with the cargo feature `otlp`.
pub const CAN_EXPORT: bool = cfg!(feature = "otlp");
/// What an operator is told who configures a collector for a binary that cannot export.
pub const CANNOT_EXPORT: &str = "it has no effect: this binary was built without the cargo feature otlp";

/// The span of an invocation, as a child of the caller's if there is one. The empty fields are recorded at its end.
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

/// One use of a store or of the sockets, as a child of the current span.
pub(crate) fn act(place: Place) -> Span {
    match place {
        Place::Record => trace_span!(target: TARGET, "record", otel.kind = "client"),
        Place::Moment => trace_span!(target: TARGET, "moment", otel.kind = "client"),
        Place::Pushes => trace_span!(target: TARGET, "push", otel.kind = "client"),
    }
}

/// A push by the drain of `count` items that a call has left, as a child of that call's span, which has ended.
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
