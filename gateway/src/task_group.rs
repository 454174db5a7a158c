//! Counts running tasks, so that a stop can wait for them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A group of tasks. Clones share the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskGroup(Arc<Running>);

#[derive(Debug, Default)]
struct Running {
    count: AtomicUsize,
    /// Notified when the count has become 0. Tasks start and end with every frame, and only a stop waits.
    none: Notify,
}

impl TaskGroup {
    /// Spawns a task in the group. It continues if the handle is dropped.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let ended = Ended(self.clone());
        // An async block that awaits the task would reserve room for it twice: as captured, and as awaited.
        tokio::spawn(task.map(|output| {
            drop(ended);
            output
        }))
    }

    /// How many tasks are running.
    pub(crate) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Returns when no task is running.
    pub(crate) async fn finished(&self) {
        loop {
            // A `Notified` gets every notification from its creation on, even before it is awaited. Created after
            // looking at the count, it could miss the end of the last task.
            let none = self.0.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Decrements the count when a task ends, even by a panic or with its runtime.
struct Ended(TaskGroup);

impl Drop for Ended {
    fn drop(&mut self) {
        let running = &self.0.0;
        // Released, so that what the task has done is visible to those who find the count to be 0.
        if running.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            running.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    /// Spawns a task that ends when its sender is dropped.
    fn start(group: &TaskGroup) -> oneshot::Sender<()> {
        let (end, ended) = oneshot::channel();
        group.spawn(async move {
            let _ = ended.await;
        });
        end
    }

    #[tokio::test]
    async fn a_group_has_finished_when_its_last_task_has() {
        let group = TaskGroup::default();
        let tasks = [start(&group), start(&group)];
        assert_eq!(group.count(), 2);
        let waiting = tokio::spawn({
            let group = group.clone();
            async move { group.finished().await }
        });
        for task in tasks {
            yield_now().await;
            assert!(!waiting.is_finished());
            drop(task);
        }
        waiting.await.unwrap();
        assert_eq!(group.count(), 0);
    }

    #[tokio::test]
    async fn a_group_without_tasks_has_finished_until_one_starts() {
        let group = TaskGroup::default();
        assert!(group.finished().now_or_never().is_some());
        let task = start(&group);
        assert!(group.finished().now_or_never().is_none());
        drop(task);
        group.finished().await;
    }

    #[tokio::test]
    async fn a_task_that_panics_or_is_aborted_has_ended() {
        let group = TaskGroup::default();
        let panics: JoinHandle<()> = group.spawn(async { panic!("on purpose") });
        assert!(panics.await.unwrap_err().is_panic());
        let endless = group.spawn(std::future::pending::<()>());
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
        assert_eq!(group.count(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_end_of_the_last_task_is_never_missed() {
        let group = TaskGroup::default();
        let in_time = tokio::time::timeout(Duration::from_secs(20), async {
            // Each task ends just before, while or after the group begins to wait.
            for _ in 0..10_000 {
                group.spawn(async {});
                group.finished().await;
                assert_eq!(group.count(), 0);
            }
        });
        in_time.await.unwrap();
    }
}
