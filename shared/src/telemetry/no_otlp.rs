//! Takes the place of `otlp.rs` in a binary without the cargo feature `otlp`: nothing is exported.

use http::Uri;
use tracing::Span;
use tracing_subscriber::{Layer, Registry};

use crate::telemetry::trace::TraceParent;

/// Is not called, since [`CAN_EXPORT`](super::spans::CAN_EXPORT) is false.
pub fn start(_lines: impl Layer<Registry> + Send + Sync, _collector: &Uri) {}

/// Has no effect.
pub(crate) fn adopt(_span: &Span, _parent: TraceParent) {}

/// No span is exported, so none is a parent.
pub(crate) fn parent_of(_span: &Span) -> Option<TraceParent> {
    None
}

/// Has no effect.
pub(crate) fn rename(_span: &Span, _name: String) {}

/// Has no effect.
pub(crate) async fn flush() {}
