//! Breakpoints: the n-th request that passes by is held, so that the harness can kill or cut off its sender meanwhile.

use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};

/// What a breakpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The request, before it arrives.
    Request,
    /// The answer to it, before it arrives.
    Answer,
}

/// A place where breakpoints are set, one at a time.
#[derive(Default)]
pub(crate) struct Breakpoints {
    armed: Mutex<Option<Armed>>,
    released: Notify,
}

struct Armed {
    /// How many requests pass before the one that is held.
    skip: usize,
    held: Held,
    reached: oneshot::Sender<()>,
}

/// A request that has reached the breakpoint.
pub(crate) struct Hit {
    reached: oneshot::Sender<()>,
    pub(crate) held: Held,
}

impl Breakpoints {
    /// Sets a breakpoint for the `n`-th request from now on, starting at 1. The receiver resolves when the request is
    /// held.
    pub(crate) fn set(&self, n: usize, held: Held) -> oneshot::Receiver<()> {
        let (reached, receiver) = oneshot::channel();
        *self.armed.lock().unwrap() = Some(Armed { skip: n - 1, held, reached });
        receiver
    }

    /// Removes the breakpoint. A request that is held is dropped, together with its connection.
    pub(crate) fn release(&self) {
        self.armed.lock().unwrap().take();
        self.released.notify_waiters();
    }

    /// Counts a request that passes by; returns the hit if this request is to be held.
    pub(crate) fn check(&self) -> Option<Hit> {
        let mut slot = self.armed.lock().unwrap();
        let armed = slot.as_mut()?;
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        slot.take().map(|armed| Hit { reached: armed.reached, held: armed.held })
    }

    /// Reports that the request is held, and returns when the breakpoint is released.
    pub(crate) async fn hold(&self, hit: Hit) {
        let released = self.released.notified();
        tokio::pin!(released);
        // Registers before the report, so that a release right after it is not missed.
        released.as_mut().enable();
        // If the receiver is gone, the release follows soon.
        let _ = hit.reached.send(());
        released.await;
    }
}
