//! One invocation of a function. It ends with one line in the log: what it was about, how it ended, and how long it waited
//! for what. The line has ids of ours and names of this code, and nothing else of what a caller sent.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::ids::{ChatId, ConnectionId, NotificationId, SendId};
use crate::telemetry::waits::{Place, Waits};

tokio::task_local! {
    /// The invocation that this task performs. Tasks that it spawns are no part of it.
    static CURRENT: Current;
}

/// Whether this process has had an invocation.
static IS_WARM: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Default)]
struct Current {
    facts: RefCell<Facts>,
    waits: RefCell<Waits>,
}

/// Where an invocation comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The name of the function.
    pub function: &'static str,
    /// The method, if it is an HTTP call.
    pub method: Option<&'static str>,
    /// API Gateway's id of the request, if it has one.
    pub request_id: Option<&'a str>,
}

impl Origin<'_> {
    /// An invocation that is no call of a client.
    pub fn internal(function: &'static str) -> Self {
        Self { function, method: None, request_id: None }
    }
}

/// Something that is learned of an invocation on the way.
#[derive(Debug, Clone)]
pub enum Fact {
    /// The route as the template has it, never the path of a call.
    Route(&'static str),
    /// The action of a frame.
    Action(&'static str),
    /// The code of the error that it ended with.
    Code(&'static str),
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
            Fact::Code(code) => self.code = Some(code),
            Fact::Connection(connection) => self.connection = Some(connection),
            Fact::Send(send) => self.send = Some(send),
            Fact::Notification(notification) => self.notification = Some(notification),
            Fact::Chat(chat) => self.chat = Some(chat),
        }
    }
}

/// Performs an invocation and writes its line. `status` is the HTTP status of the result, if it has one.
pub async fn run<T>(origin: Origin<'_>, act: impl Future<Output = T>, status: impl FnOnce(&T) -> Option<u16>) -> T {
    let (begun, is_cold) = (Instant::now(), !IS_WARM.swap(true, Ordering::Relaxed));
    // On the heap, since each function that passes a future on has its whole size again.
    let act = Box::pin(act);
    let acting = async {
        let result = act.await;
        (result, CURRENT.with(|current| (current.facts.take(), *current.waits.borrow())))
    };
    let (result, (facts, waits)) = CURRENT.scope(Current::default(), acting).await;
    Line::new(origin, &facts, &waits, begun.elapsed(), status(&result), is_cold).write();
    result
}

/// Notes a fact for the line of the current invocation. Without one, has no effect.
pub fn note(fact: Fact) {
    let _ = CURRENT.try_with(|current| current.facts.borrow_mut().note(fact));
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
#[derive(Debug)]
struct Line<'a> {
    function: &'static str,
    route: Option<&'static str>,
    method: Option<&'static str>,
    action: Option<&'static str>,
    status: Option<u16>,
    code: Option<&'static str>,
    request_id: Option<&'a str>,
    connection_id: Option<&'a str>,
    send_id: Option<SendId>,
    notification_id: Option<NotificationId>,
    chat_id: Option<ChatId>,
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
            request_id: origin.request_id,
            connection_id: facts.connection.as_ref().map(ConnectionId::as_str),
            send_id: facts.send,
            notification_id: facts.notification,
            chat_id: facts.chat,
            duration_ms: ms(duration),
            record_ms: ms(waits.total(Place::Record)),
            moment_ms: ms(waits.total(Place::Moment)),
            push_ms: ms(waits.total(Place::Pushes)),
            cold,
        }
    }

    fn write(&self) {
        tracing::info!(
            target: "invocation",
            function = self.function,
            route = self.route,
            method = self.method,
            action = self.action,
            status = self.status,
            code = self.code,
            requestId = self.request_id,
            connectionId = self.connection_id,
            sendId = self.send_id.map(tracing::field::display),
            notificationId = self.notification_id.map(tracing::field::display),
            chatId = self.chat_id.map(tracing::field::display),
            durationMs = self.duration_ms,
            recordMs = self.record_ms,
            momentMs = self.moment_ms,
            pushMs = self.push_ms,
            cold = self.cold,
            "invoked"
        );
    }
}

/// Milliseconds, to a tenth.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn outside_of_an_invocation_nothing_is_kept() {
        note(Fact::Code("internal"));
        drop(wait_for(Place::Record));
        assert!(CURRENT.try_with(|_| ()).is_err());
    }
}
