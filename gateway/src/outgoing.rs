//! What is on its way to the task of one socket: a bounded queue of messages, and the request to end the connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How much may be queued for a client that does not read: messages, and their bytes.
const MAX_QUEUED_MESSAGES: usize = 1_000;
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Why a connection ends: the code and reason that `$disconnect` receives, and the client too if it is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: Utf8Bytes,
}

impl Closing {
    pub(crate) fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Utf8Bytes::from_static(reason) }
    }

    /// For a connection that was idle or open for too long, and when the gateway stops.
    pub(crate) fn going_away() -> Self {
        Self::new(1001, "Going away")
    }

    /// For `DELETE @connections`.
    pub(crate) fn normal() -> Self {
        Self::new(1000, "Connection Closed Normally")
    }
}

/// Whether a message for a client was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueOutcome {
    /// It is sent in order, if the client stays connected.
    Queued,
    /// The client does not read, and its queue is full.
    Full,
    /// The connection has ended.
    Gone,
}

/// What any task adds, and only the socket's own task takes: that task alone polls and is woken.
///
/// This is not a channel of tokio's, because one has room for 32 messages from the start. Most connections are idle and
/// have none.
#[derive(Default)]
pub(crate) struct Outgoing(Mutex<State>);

#[derive(Default)]
struct State {
    messages: VecDeque<Utf8Bytes>,
    /// The bytes of all queued messages.
    queued_bytes: usize,
    closing: Option<Closing>,
    /// Whether the task takes no more messages. There are none then.
    has_ended: bool,
    /// The task, from when it has found nothing until it is woken.
    waker: Option<Waker>,
}

impl Outgoing {
    /// Queues a message.
    ///
    /// Atomic: a message that was queued is returned to the task before it is told that there are no more, unless the
    /// task drops them all. A message after that is `Gone`.
    pub(crate) fn enqueue(&self, text: Utf8Bytes) -> QueueOutcome {
        let mut state = self.lock();
        if state.has_ended {
            return QueueOutcome::Gone;
        }
        let queued_bytes = state.queued_bytes + text.len();
        if queued_bytes > MAX_QUEUED_BYTES || state.messages.len() >= MAX_QUEUED_MESSAGES {
            return QueueOutcome::Full;
        }
        // The task waits for a message only if it has found none. If it has left some, it waits until it can write, and
        // need not be woken for another.
        let waker = if state.messages.is_empty() { state.waker.take() } else { None };
        state.queued_bytes = queued_bytes;
        state.messages.push_back(text);
        // Before waking: the task would have to wait for the lock.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        QueueOutcome::Queued
    }

    /// Asks the task to end the connection. Only the first call has an effect, and none if the connection is already
    /// ending for another reason.
    pub(crate) fn close(&self, closing: Closing) {
        let mut state = self.lock();
        if state.closing.is_some() {
            return;
        }
        state.closing = Some(closing);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The oldest message. If there is none, the task is woken when one is queued.
    pub(crate) fn poll_message(&self, context: &mut Context<'_>) -> Poll<Utf8Bytes> {
        // While messages keep coming, the task has to yield to others at times, as it would with a channel of tokio's.
        let budget = ready!(coop::poll_proceed(context));
        let mut state = self.lock();
        let Some(text) = state.pop() else {
            state.register(context.waker());
            return Poll::Pending;
        };
        budget.made_progress();
        Poll::Ready(text)
    }

    /// Ready if the connection is to end. If not, the task is woken when it is.
    pub(crate) fn poll_closing(&self, context: &Context<'_>) -> Poll<Closing> {
        let mut state = self.lock();
        if let Some(closing) = &state.closing {
            return Poll::Ready(closing.clone());
        }
        state.register(context.waker());
        Poll::Pending
    }

    /// The oldest message. If there is none, there are no more: further messages are `Gone` from then on.
    pub(crate) fn take_or_end(&self) -> Option<Utf8Bytes> {
        let mut state = self.lock();
        let text = state.pop();
        state.has_ended = text.is_none();
        text
    }

    /// Drops the queued messages. Further ones are `Gone` from then on.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        state.queued_bytes = 0;
        let messages = std::mem::take(&mut state.messages);
        // The waker keeps the task in memory, and the task may be what keeps this in memory.
        let waker = state.waker.take();
        drop(state);
        // Without the lock, since dropping the last reference to a task could run any code.
        drop((messages, waker));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Utf8Bytes> {
        let text = self.messages.pop_front()?;
        self.queued_bytes -= text.len();
        if self.messages.is_empty() {
            // An idle connection keeps no room for the messages that it once had.
            self.messages = VecDeque::new();
        }
        Some(text)
    }

    fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(registered) => registered.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn wakes(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll_message(outgoing: &Outgoing) -> Poll<Utf8Bytes> {
        outgoing.poll_message(&mut Context::from_waker(Waker::noop()))
    }

    fn message(outgoing: &Outgoing) -> Option<String> {
        match poll_message(outgoing) {
            Poll::Ready(text) => Some(text.as_str().to_owned()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn messages_are_taken_in_the_order_in_which_they_were_queued() {
        let outgoing = Outgoing::default();
        for text in ["first", "second"] {
            assert_eq!(outgoing.enqueue(text.into()), QueueOutcome::Queued);
        }
        assert_eq!(message(&outgoing).as_deref(), Some("first"));
        assert_eq!(outgoing.enqueue("third".into()), QueueOutcome::Queued);
        for text in ["second", "third"] {
            assert_eq!(message(&outgoing).as_deref(), Some(text));
        }
        assert_eq!(message(&outgoing), None);
    }

    #[test]
    fn a_client_that_does_not_read_fills_its_queue() {
        let outgoing = Outgoing::default();
        let mebibyte = Utf8Bytes::from("x".repeat(1024 * 1024));
        for _ in 0..4 {
            assert_eq!(outgoing.enqueue(mebibyte.clone()), QueueOutcome::Queued);
        }
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Full);
        assert!(poll_message(&outgoing).is_ready());
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Queued);
    }

    #[test]
    fn many_small_messages_fill_the_queue() {
        let outgoing = Outgoing::default();
        for _ in 0..MAX_QUEUED_MESSAGES {
            assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Queued);
        }
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Full);
        assert!(poll_message(&outgoing).is_ready());
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Queued);
    }

    #[test]
    fn a_refused_message_takes_no_room_and_one_without_bytes_needs_none() {
        let outgoing = Outgoing::default();
        let half = Utf8Bytes::from("x".repeat(MAX_QUEUED_BYTES / 2));
        assert_eq!(outgoing.enqueue(half.clone()), QueueOutcome::Queued);
        assert_eq!(outgoing.enqueue(half.clone()), QueueOutcome::Queued);
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Full);
        assert_eq!(outgoing.enqueue("".into()), QueueOutcome::Queued);
        assert!(poll_message(&outgoing).is_ready());
        assert_eq!(outgoing.enqueue(half), QueueOutcome::Queued);
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Full);
    }

    #[test]
    fn an_idle_queue_has_no_room_of_its_own() {
        let outgoing = Outgoing::default();
        for _ in 0..100 {
            assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Queued);
        }
        while poll_message(&outgoing).is_ready() {}
        assert_eq!(outgoing.lock().messages.capacity(), 0);
    }

    #[test]
    fn only_the_first_closing_has_an_effect() {
        let outgoing = Outgoing::default();
        let context = Context::from_waker(Waker::noop());
        assert!(outgoing.poll_closing(&context).is_pending());
        outgoing.close(Closing::normal());
        outgoing.close(Closing::going_away());
        assert_eq!(outgoing.poll_closing(&context), Poll::Ready(Closing::normal()));
    }

    #[test]
    fn messages_are_taken_after_the_closing_until_the_task_has_found_none() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.enqueue("before".into()), QueueOutcome::Queued);
        outgoing.close(Closing::normal());
        assert_eq!(outgoing.enqueue("after".into()), QueueOutcome::Queued);
        for text in ["before", "after"] {
            assert_eq!(outgoing.take_or_end().unwrap().as_str(), text);
        }
        assert_eq!(outgoing.take_or_end(), None);
        assert_eq!(outgoing.enqueue("late".into()), QueueOutcome::Gone);
        assert_eq!(outgoing.take_or_end(), None);
    }

    #[test]
    fn a_full_queue_that_has_ended_is_gone() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.enqueue("x".repeat(MAX_QUEUED_BYTES).into()), QueueOutcome::Queued);
        outgoing.end();
        assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Gone);
        assert_eq!(outgoing.take_or_end(), None);
    }

    #[test]
    fn the_task_is_woken_by_the_first_message_and_by_the_closing() {
        let (outgoing, task) = (Outgoing::default(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut context = Context::from_waker(&waker);
        assert!(outgoing.poll_message(&mut context).is_pending());
        assert!(outgoing.poll_closing(&context).is_pending());
        outgoing.enqueue("first".into());
        outgoing.enqueue("second".into());
        assert_eq!(task.wakes(), 1, "the second message finds the task awake");

        assert!(outgoing.poll_message(&mut context).is_ready());
        assert!(outgoing.poll_closing(&context).is_pending());
        outgoing.enqueue("third".into());
        assert_eq!(task.wakes(), 1, "a task that leaves messages waits for its client");
        outgoing.close(Closing::normal());
        assert_eq!(task.wakes(), 2);
        assert!(outgoing.poll_closing(&context).is_ready());
    }

    #[test]
    fn only_the_waker_of_the_last_poll_is_woken() {
        let (outgoing, tasks) = (Outgoing::default(), [Arc::new(Task::default()), Arc::new(Task::default())]);
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            assert!(outgoing.poll_closing(&Context::from_waker(&waker)).is_pending());
        }
        outgoing.close(Closing::normal());
        assert_eq!(tasks.each_ref().map(|task| task.wakes()), [0, 1]);
    }

    #[test]
    fn an_end_lets_go_of_the_task() {
        let (outgoing, task) = (Outgoing::default(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(outgoing.poll_closing(&Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2);
        outgoing.end();
        assert_eq!((Arc::strong_count(&task), task.wakes()), (1, 0));
    }

    #[test]
    fn every_message_is_either_taken_or_refused() {
        let outgoing = Outgoing::default();
        let send = || {
            let mut queued = 0_usize;
            while queued < 10_000 {
                match outgoing.enqueue("x".into()) {
                    QueueOutcome::Queued => queued += 1,
                    QueueOutcome::Full => thread::yield_now(),
                    QueueOutcome::Gone => break,
                }
            }
            queued
        };
        let (queued, taken) = thread::scope(|scope| {
            let senders = [(); 4].map(|()| scope.spawn(send));
            let mut taken = 0_usize;
            while taken < 1_000 {
                match poll_message(&outgoing) {
                    Poll::Ready(_) => taken += 1,
                    Poll::Pending => thread::yield_now(),
                }
            }
            while outgoing.take_or_end().is_some() {
                taken += 1;
            }
            (senders.map(|sender| sender.join().unwrap()).iter().sum::<usize>(), taken)
        });
        assert_eq!(queued, taken);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost() {
        const ROUNDS: usize = 10_000;
        let outgoing = Arc::new(Outgoing::default());
        let (took, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn({
            let outgoing = Arc::clone(&outgoing);
            async move {
                poll_fn(|context| {
                    while outgoing.poll_message(context).is_ready() {
                        took.send(()).unwrap();
                    }
                    outgoing.poll_closing(context)
                })
                .await
            }
        });
        let in_time = tokio::time::timeout(Duration::from_secs(20), async {
            // One at a time, so that each message finds the task just before, while or after it begins to wait.
            for _ in 0..ROUNDS {
                assert_eq!(outgoing.enqueue("x".into()), QueueOutcome::Queued);
                taken.recv().await.unwrap();
            }
            outgoing.close(Closing::normal());
            task.await.unwrap()
        });
        assert_eq!(in_time.await.unwrap(), Closing::normal());
    }
}
