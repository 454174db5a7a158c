//! The traces that end in the drain: those of calls that have returned and left something to push.

use std::collections::BTreeMap;

use shared::telemetry::spans;
use shared::telemetry::trace::TraceParent;
use tracing::Span;

/// A push of what traced calls have left.
pub(crate) struct Traced {
    what: &'static str,
    /// How many items each call has left.
    counts: BTreeMap<TraceParent, u64>,
    /// The span of the push in the trace of each call.
    _spans: Vec<Span>,
}

impl Traced {
    /// Begins a push of items that came with these traces.
    pub(crate) fn begin(what: &'static str, traces: impl Iterator<Item = Option<TraceParent>>) -> Self {
        let mut counts: BTreeMap<TraceParent, u64> = BTreeMap::new();
        traces.flatten().for_each(|trace| *counts.entry(trace).or_default() += 1);
        let spans = counts.iter().map(|(trace, count)| spans::left_push(*trace, what, *count)).collect();
        Self { what, counts, _spans: spans }
    }

    /// Ends the push and writes one line per call, not per item: a send may have 1,000 recipients.
    pub(crate) fn end(self) {
        for (TraceParent { trace, .. }, count) in self.counts {
            tracing::info!(traceId = %trace, what = self.what, count, "pushed what a traced call had left");
        }
    }
}
