//! Counts what is still running, so that a stop can wait for it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A group of tasks. Clones are the same group.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskGroup(Arc<watch::Sender<usize>>);

impl TaskGroup {
    /// Spawns a task as part of the group; it goes on when the handle is dropped.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.send_modify(|count| *count += 1);
        let ended = Ended(self.clone());
        tokio::spawn(async move {
            let _ended = ended;
            task.await
        })
    }

    /// How many run at this moment.
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns once none runs.
    pub(crate) async fn finished(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts down when a task ends, also by a panic or with its runtime.
struct Ended(TaskGroup);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
