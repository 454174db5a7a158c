//! One invocation of a function. It ends with one line in the log: what it was about, how it ended, and how long it waited
//! for what. The line has ids of ours and names of this code, and nothing else of what a caller sent. Where metrics are
//! published, the same line has them.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde::Serialize;
use tracing::{Instrument, Span};

use crate::error::Error;
use crate::ids::{ChatId, ConnectionId, NotificationId, SendId};
use crate::telemetry::cloud_watch::{self, Directive};
use crate::telemetry::trace::{TraceId, TraceParent};
use crate::telemetry::waits::{Place, Waits};
use crate::telemetry::{names, otlp, spans};

tokio::task_local! {
    /// The invocation that this task performs. Tasks that it spawns are no part of it.
    static CURRENT: Current;
}

/// Whether this process has had an invocation.
static IS_WARM: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Default)]
struct Current {
    trace: Option<TraceParent>,
    is_call: bool,
    facts: RefCell<Facts>,
    waits: RefCell<Waits>,
}

/// Where an invocation comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The name of the function.
    pub function: &'static str,
    /// Whether a client has called: by HTTP, or by an event of its socket.
    pub is_call: bool,
    /// The method, if it is an HTTP call.
    pub method: Option<&'static str>,
    /// API Gateway's id of the request, if it has one.
    pub request_id: Option<&'a str>,
    /// The caller's span, if the call names one.
    pub trace: Option<TraceParent>,
}

impl<'a> Origin<'a> {
    /// An event of a socket.
    pub fn socket(function: &'static str, request_id: Option<&'a str>) -> Self {
        Self { function, is_call: true, method: None, request_id, trace: None }
    }

    /// An invocation that is no call of a client.
    pub fn internal(function: &'static str) -> Self {
        Self { function, is_call: false, method: None, request_id: None, trace: None }
    }
}

/// Something that is learned of an invocation on the way.
#[derive(Debug, Clone)]
pub enum Fact {
    /// The route as the template has it, never the path of a call.
    Route(&'static str),
    /// The action of a frame.
    Action(&'static str),
    /// The connection that it serves.
    Connection(ConnectionId),
    /// The send that it is about.
    Send(SendId),
    /// The notification that it is about.
    Notification(NotificationId),
    /// The chat that it is about.
    Chat(ChatId),
}

#[derive(Debug, Default)]
struct Facts {
    route: Option<&'static str>,
    action: Option<&'static str>,
    code: Option<&'static str>,
    is_server_error: bool,
    connection: Option<ConnectionId>,
    send: Option<SendId>,
    notification: Option<NotificationId>,
    chat: Option<ChatId>,
}

impl Facts {
    fn note(&mut self, fact: Fact) {
        match fact {
            Fact::Route(route) => self.route = Some(route),
            Fact::Action(action) => self.action = Some(action),
            Fact::Connection(connection) => self.connection = Some(connection),
            Fact::Send(send) => self.send = Some(send),
            Fact::Notification(notification) => self.notification = Some(notification),
            Fact::Chat(chat) => self.chat = Some(chat),
        }
    }
}

/// Performs an invocation, writes its line, and exports its span. `status` is the HTTP status of the result, if it has one.
pub async fn run<T>(origin: Origin<'_>, act: impl Future<Output = T>, status: impl FnOnce(&T) -> Option<u16>) -> T {
    let (begun, is_cold) = (Instant::now(), !IS_WARM.swap(true, Ordering::Relaxed));
    let span = spans::invocation(origin.function, origin.method, origin.is_call, origin.trace);
    // What it leaves to others is a part of its own span, if that is exported.
    let origin = Origin { trace: otlp::parent_of(&span).or(origin.trace), ..origin };
    // On the heap, since each function that passes a future on has its whole size again.
    let act = Box::pin(act);
    let acting = async {
        // The runtime turns a panic into an error, and the process goes on.
        let result = AssertUnwindSafe(act).catch_unwind().await;
        if result.is_err() {
            note_error(&Error::Internal);
        }
        (result, CURRENT.with(|current| (current.facts.take(), *current.waits.borrow())))
    };
    let current = Current { trace: origin.trace, is_call: origin.is_call, ..Current::default() };
    let (result, (facts, waits)) = CURRENT.scope(current, acting).instrument(span.clone()).await;
    let line = Line::new(origin, &facts, &waits, begun.elapsed(), result.as_ref().ok().and_then(status), is_cold);
    match cloud_watch::namespace() {
        Some(namespace) => cloud_watch::write(&line.with_metrics(namespace)),
        None => line.log(),
    }
    line.end(span);
    otlp::flush().await;
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Notes a fact for the line of the current invocation. Without one, has no effect.
pub fn note(fact: Fact) {
    let _ = CURRENT.try_with(|current| current.facts.borrow_mut().note(fact));
}

/// The span that is the parent of what the current invocation leaves to others; `None` without a trace.
pub(crate) fn trace() -> Option<TraceParent> {
    CURRENT.try_with(|current| current.trace).ok().flatten()
}

/// The span of one use of a store or of the sockets by the current invocation, until the result is dropped. Only calls have
/// such spans: the drain asks again and again whether there is something to do, and has spans of what it does.
pub(crate) fn act_on(place: Place) -> Span {
    let is_call = CURRENT.try_with(|current| current.is_call).unwrap_or(false);
    if is_call { spans::act(place) } else { Span::none() }
}

/// Notes the error that the current invocation ends with. Without one, has no effect.
pub fn note_error(error: &Error) {
    let _ = CURRENT.try_with(|current| {
        let mut facts = current.facts.borrow_mut();
        (facts.code, facts.is_server_error) = (Some(error.code()), error.is_server_error());
    });
}

/// Counts the time until the result is dropped as a wait of the current invocation.
pub(crate) fn wait_for(place: Place) -> Waiting {
    let begun = CURRENT.try_with(|current| current.waits.borrow_mut().begin(place, Instant::now()));
    Waiting(begun.is_ok().then_some(place))
}

/// A wait that is going on; of no invocation if it is `None`.
#[must_use = "the wait ends when this is dropped"]
pub(crate) struct Waiting(Option<Place>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            // Fails only outside of the invocation, whose line is written then.
            let _ = CURRENT.try_with(|current| current.waits.borrow_mut().end(place, Instant::now()));
        }
    }
}

/// The line of one invocation. Members without a value are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    function: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// 0 or 1.
    server_errors: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_id: Option<SendId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_id: Option<NotificationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_id: Option<ChatId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    duration_ms: f64,
    record_ms: f64,
    moment_ms: f64,
    push_ms: f64,
    /// Whether it is the first of its process.
    cold: bool,
}

impl<'a> Line<'a> {
    fn new(
        origin: Origin<'a>,
        facts: &'a Facts,
        waits: &Waits,
        duration: Duration,
        status: Option<u16>,
        cold: bool,
    ) -> Self {
        Self {
            function: origin.function,
            route: facts.route,
            method: origin.method,
            action: facts.action,
            status,
            code: facts.code,
            // An answer may report a server error that is no error of the call, as that of a health check.
            server_errors: u8::from(facts.is_server_error || status.is_some_and(|status| status >= 500)),
            request_id: origin.request_id,
            connection_id: facts.connection.as_ref().map(ConnectionId::as_str),
            send_id: facts.send,
            notification_id: facts.notification,
            chat_id: facts.chat,
            trace_id: origin.trace.map(|parent| parent.trace),
            duration_ms: ms(duration),
            record_ms: ms(waits.total(Place::Record)),
            moment_ms: ms(waits.total(Place::Moment)),
            push_ms: ms(waits.total(Place::Pushes)),
            cold,
        }
    }

    /// The line with its metrics. One without a wait for a place has no metric of it: some functions never have, and each
    /// metric of a function has a price.
    fn with_metrics(&self, namespace: &'static str) -> String {
        let waits = [
            (self.record_ms, &names::RECORD_WAIT),
            (self.moment_ms, &names::MOMENT_WAIT),
            (self.push_ms, &names::PUSH_WAIT),
        ];
        let waits = waits.into_iter().filter(|(ms, _)| *ms > 0.0).map(|(_, metric)| metric);
        let directives = [
            Directive::of_function(namespace, waits),
            Directive::of_function_and_all(namespace, [&names::SERVER_ERRORS]),
        ];
        cloud_watch::line("invocation", &directives, self)
    }

    fn log(&self) {
        tracing::info!(
            target: "invocation",
            function = self.function,
            route = self.route,
            method = self.method,
            action = self.action,
            status = self.status,
            code = self.code,
            serverErrors = self.server_errors,
            requestId = self.request_id,
            connectionId = self.connection_id,
            sendId = self.send_id.map(tracing::field::display),
            notificationId = self.notification_id.map(tracing::field::display),
            chatId = self.chat_id.map(tracing::field::display),
            traceId = self.trace_id.map(tracing::field::display),
            durationMs = self.duration_ms,
            recordMs = self.record_ms,
            momentMs = self.moment_ms,
            pushMs = self.push_ms,
            cold = self.cold,
            "invoked"
        );
    }

    /// Ends the span of the invocation, which has a name as in the API: `POST /api/notifications/send`.
    fn end(&self, span: Span) {
        if span.is_disabled() {
            return;
        }
        let name: Vec<&str> = [self.method, self.route, self.action].into_iter().flatten().collect();
        otlp::rename(&span, if name.is_empty() { self.function.to_owned() } else { name.join(" ") });
        span.record("http.route", self.route);
        // What is unsigned would be exported as text.
        span.record("http.response.status_code", self.status.map(i64::from));
        span.record("error.type", self.code);
        span.record("faas.coldstart", self.cold);
        if self.server_errors > 0 {
            span.record("otel.status_code", "error");
        }
    }
}

/// Milliseconds, to a tenth.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn waits_and_facts_belong_to_the_invocation_around_them() {
        let chat = ChatId::parse("6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18").expect("it is a UUID");
        let inside = async {
            note(Fact::Chat(chat));
            {
                let _waiting = wait_for(Place::Record);
                tokio::task::yield_now().await;
            }
            // One that is given up ends too.
            let waiting = async {
                let _waiting = wait_for(Place::Moment);
                std::future::pending::<()>().await;
            };
            assert_eq!(waiting.now_or_never(), None);
            CURRENT.with(|current| (current.facts.borrow().chat, *current.waits.borrow()))
        };
        let (noted, waits) = run(Origin::internal("send"), inside, |_| None).await;
        assert_eq!(noted, Some(chat));
        assert!(waits.total(Place::Record) > Duration::ZERO && waits.total(Place::Moment) > Duration::ZERO);
        assert_eq!(waits.total(Place::Pushes), Duration::ZERO);
    }

    #[test]
    fn a_line_has_metrics_of_what_was_waited_for() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        waits.begin(Place::Record, now);
        waits.end(Place::Record, now + Duration::from_micros(1_260));
        let facts = Facts { route: Some("/health"), ..Facts::default() };
        let request_id = Some("ATfSmjLgPHcESJw=");
        let origin = Origin { method: Some("GET"), ..Origin::socket("health", request_id) };
        let line = Line::new(origin, &facts, &waits, Duration::from_millis(2), Some(503), true);
        let mut line: Value = serde_json::from_str(&line.with_metrics("Carillon")).unwrap();
        let directives = line["_aws"]["CloudWatchMetrics"].take();
        let names = |n: usize| directives[n]["Metrics"].as_array().unwrap().iter().map(|metric| &metric["Name"]);
        assert!(names(0).eq(["recordMs"]) && names(1).eq(["serverErrors"]), "{directives}");
        line.as_object_mut().unwrap().remove("_aws");
        let expected = json!({
            "level": "INFO", "target": "invocation", "function": "health", "route": "/health", "method": "GET",
            "status": 503, "serverErrors": 1, "requestId": "ATfSmjLgPHcESJw=", "durationMs": 2.0, "recordMs": 1.3,
            "momentMs": 0.0, "pushMs": 0.0, "cold": true,
        });
        assert_eq!(line, expected);
    }

    #[tokio::test]
    async fn outside_of_an_invocation_nothing_is_kept() {
        note(Fact::Route("/health"));
        note_error(&Error::Internal);
        drop(wait_for(Place::Record));
        assert!(act_on(Place::Record).is_none());
        assert!(CURRENT.try_with(|_| ()).is_err());
    }
}
