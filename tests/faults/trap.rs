//! A trap: the n-th request that comes by stays where it is, until somebody has done to its sender what he wants.

use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};

/// Where a request stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before it arrives.
    Before,
    /// When it was answered, before the answer arrives.
    After,
}

/// A place at which traps are set, one at a time.
#[derive(Default)]
pub(crate) struct Traps {
    set: Mutex<Option<Set>>,
    opened: Notify,
}

struct Set {
    /// How many requests still pass.
    pass: usize,
    moment: Moment,
    sprung: oneshot::Sender<()>,
}

/// A request that a trap waits for.
pub(crate) struct Caught {
    sprung: oneshot::Sender<()>,
    pub(crate) moment: Moment,
}

impl Traps {
    /// Sets a trap for the `n`-th request from now on, the first being 1. What is returned tells when it is sprung.
    pub(crate) fn set(&self, n: usize, moment: Moment) -> oneshot::Receiver<()> {
        let (sprung, told) = oneshot::channel();
        *self.set.lock().unwrap() = Some(Set { pass: n - 1, moment, sprung });
        told
    }

    /// Takes the trap away; a request that stays is dropped, with its connection.
    pub(crate) fn open(&self) {
        self.set.lock().unwrap().take();
        self.opened.notify_waiters();
    }

    /// A request comes by; is it the one?
    pub(crate) fn comes_by(&self) -> Option<Caught> {
        let mut set = self.set.lock().unwrap();
        let trap = set.as_mut()?;
        if trap.pass > 0 {
            trap.pass -= 1;
            return None;
        }
        set.take().map(|trap| Caught { sprung: trap.sprung, moment: trap.moment })
    }

    /// The request has come to where it stays. Returns when the trap is opened.
    pub(crate) async fn holds(&self, caught: Caught) {
        let opened = self.opened.notified();
        tokio::pin!(opened);
        // From here on an opening is not missed.
        opened.as_mut().enable();
        // Nobody waits for it any more: then it is opened soon.
        let _ = caught.sprung.send(());
        opened.await;
    }
}
