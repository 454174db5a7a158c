//! Counts running tasks, so that a stop can wait for them.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A group of tasks. Clones share the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskGroup(Arc<watch::Sender<usize>>);

impl TaskGroup {
    /// Spawns a task in the group. It continues if the handle is dropped.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.send_modify(|count| *count += 1);
        let ended = Ended(self.clone());
        // An async block that awaits the task would reserve room for it twice: as captured, and as awaited.
        tokio::spawn(task.map(|output| {
            drop(ended);
            output
        }))
    }

    /// How many tasks are running.
    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns when no task is running.
    pub(crate) async fn finished(&self) {
        // The sender is owned by `self`, so the channel cannot close while this waits.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Decrements the count when a task ends, even by a panic or with its runtime.
struct Ended(TaskGroup);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
