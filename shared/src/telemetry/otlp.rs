//! The export of spans to a collector, by OTLP over HTTP. The process must be a part of Tokio's runtime.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId, TraceState, TracerProvider,
};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use opentelemetry_sdk::{Resource, runtime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::filter::{Filtered, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::telemetry::trace::{TARGET, TraceId, TraceParent};

/// How long one request to the collector may take.
const EXPORT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an invocation waits until its spans are exported: a request that has just begun, then its own.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(600);
/// For how long no invocation waits after an export has failed: a collector that hangs must not slow every call.
const PAUSE: Duration = Duration::from_secs(10);

/// What exports the spans of this process.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
/// When the last export that was waited for has failed; `None` if it has not.
static FAILED_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// What makes spans of the target [`TARGET`] those that are exported.
pub type SpanLayer<S> = Filtered<OpenTelemetryLayer<S, SdkTracer>, Targets, S>;

/// Starts logging with these lines, and exporting spans to a collector.
pub fn start(lines: impl Layer<Registry> + Send + Sync, collector: &Uri) {
    // Fails only if the process already has a subscriber, which is just as good.
    let _ = tracing_subscriber::registry().with(lines).with(layer(collector)).try_init();
}

/// Exports spans to a collector from now on. `collector` is its base URL: `http://localhost:4318`.
pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(collector: &Uri) -> SpanLayer<S> {
    let base = collector.to_string();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        // An invocation would wait for each further attempt.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .expect("a URL with a longer path is one");
    // The default processor has a thread of its own, on which the client, which needs Tokio, exports nothing.
    let processor = BatchSpanProcessor::builder(exporter, runtime::Tokio).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource()).build();
    let tracer = provider.tracer("carillon");
    // A process starts only once; tests, which may start twice, flush the first.
    let _ = PROVIDER.set(provider);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
}

/// What the spans are of: `carillon`, unless `OTEL_RESOURCE_ATTRIBUTES` has another `service.name`.
fn resource() -> Resource {
    let named = Resource::builder_empty().with_service_name("carillon");
    named.with_detector(Box::new(EnvResourceDetector::new())).build()
}

/// Makes a span, which was never entered, a child of one of another process.
pub(crate) fn adopt(span: &Span, parent: TraceParent) {
    let TraceParent { trace, span: parent, is_sampled } = parent;
    let parent = SpanContext::new(
        OtelTraceId::from_bytes(trace.0),
        SpanId::from_bytes(parent),
        TraceFlags::default().with_sampled(is_sampled),
        true,
        TraceState::default(),
    );
    // Fails if no layer exports the span.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// What the children of a span name in other processes; `None` if the span is not exported.
pub(crate) fn parent_of(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| TraceParent {
        trace: TraceId(span.trace_id().to_bytes()),
        span: span.span_id().to_bytes(),
        is_sampled: span.is_sampled(),
    })
}

/// Gives a span another name, which the log does not see.
pub(crate) fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// Waits until every span that has ended is exported, but not for long: Lambda freezes the process once the invocation is
/// answered. Says it once if the collector does not take them. In a pause, they are exported as long as the process runs.
pub(crate) async fn flush() {
    let Some(provider) = PROVIDER.get() else { return };
    let failed_at = *FAILED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if failed_at.is_some_and(|failed_at| failed_at.elapsed() < PAUSE) {
        return;
    }
    // It blocks its thread until a task of this runtime has exported them.
    let flushing = tokio::task::spawn_blocking(move || provider.force_flush());
    let problem = match tokio::time::timeout(FLUSH_TIMEOUT, flushing).await {
        Ok(Ok(flushed)) => flushed.err().map(|error| error.to_string()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no answer in time".into()),
    };
    let now_failed_at = problem.is_some().then(Instant::now);
    let failed_at = std::mem::replace(&mut *FAILED_AT.lock().unwrap_or_else(PoisonError::into_inner), now_failed_at);
    if let Some(problem) = problem.filter(|_| failed_at.is_none()) {
        tracing::warn!(%problem, "spans could not be exported to the collector at OTEL_EXPORTER_OTLP_ENDPOINT");
    }
}
