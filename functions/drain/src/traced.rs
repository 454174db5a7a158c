//! The traces that end in the drain: of calls that are over and left something to push.

use std::collections::BTreeMap;

use shared::telemetry::spans;
use shared::telemetry::trace::TraceParent;
use tracing::Span;

/// A push of things that belong to traces.
pub(crate) struct Traced {
    what: &'static str,
    /// How many of the things belong to each.
    counts: BTreeMap<TraceParent, u64>,
    /// The span of the push in each.
    _spans: Vec<Span>,
}

impl Traced {
    /// Before things are pushed that calls with these traces have left.
    pub(crate) fn begin(what: &'static str, traces: impl Iterator<Item = Option<TraceParent>>) -> Self {
        let mut counts: BTreeMap<TraceParent, u64> = BTreeMap::new();
        traces.flatten().for_each(|trace| *counts.entry(trace).or_default() += 1);
        let spans = counts.iter().map(|(trace, count)| spans::left_push(*trace, what, *count)).collect();
        Self { what, counts, _spans: spans }
    }

    /// After they were pushed: writes a line for each trace, and not for each thing, since a send may have 1,000 recipients.
    pub(crate) fn end(self) {
        for (TraceParent { trace, .. }, count) in self.counts {
            tracing::info!(traceId = %trace, what = self.what, count, "something of a trace was pushed");
        }
    }
}
