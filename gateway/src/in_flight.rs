//! Bounds how many messages of one connection are handled at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// How many messages of one connection may be in flight. API Gateway has no such bound, only throttles.
pub(crate) const MAX_IN_FLIGHT: usize = 8;

/// The messages of a connection that are in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    has_room: AtomicWaker,
}

/// One message in flight, until this is dropped.
pub(crate) struct MessageInFlight(Arc<InFlight>);

impl InFlight {
    /// Ready if another message may begin. Otherwise the task is woken when one has ended; only the last task that
    /// polled is.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.has_room.register(context.waker());
        // A message may have ended before the waker was registered.
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Counts a message. To be called only when there is room, by the task that polls for it.
    pub(crate) fn begin(self: &Arc<Self>) -> MessageInFlight {
        self.count.fetch_add(1, Ordering::AcqRel);
        MessageInFlight(Arc::clone(self))
    }

    fn has_room(&self) -> bool {
        self.count.load(Ordering::Acquire) < MAX_IN_FLIGHT
    }
}

impl Drop for MessageInFlight {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.has_room.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn there_is_room_until_8_messages_are_in_flight_and_again_when_one_has_ended() {
        let in_flight = Arc::new(InFlight::default());
        let mut messages = Vec::new();
        for _ in 0..MAX_IN_FLIGHT {
            poll_fn(|context| in_flight.poll_room(context)).now_or_never().unwrap();
            messages.push(in_flight.begin());
        }
        let waiting = tokio::spawn({
            let in_flight = Arc::clone(&in_flight);
            async move { poll_fn(|context| in_flight.poll_room(context)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        messages.pop();
        waiting.await.unwrap();
        drop(messages);
        assert!(poll_fn(|context| in_flight.poll_room(context)).now_or_never().is_some());
    }
}
