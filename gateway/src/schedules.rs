//! Schedules by the clock: each fires at the start and then at its times, and never piles up.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use shared::clock::Clock;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::functions::FunctionError;
use crate::invocation::Target;
use crate::task_group::TaskGroup;
use crate::template::resolve::{ACCOUNT_ID, REGION};
use crate::template::{Schedule, ScheduleKind};
use crate::timestamps;

/// A schedule with its function found.
pub(crate) struct ServedSchedule {
    pub(crate) schedule: Schedule,
    pub(crate) target: Target,
    /// What rates count from.
    pub(crate) start_ms: i64,
}

impl ServedSchedule {
    /// When it fires next; `None` if it is disabled or its years have passed.
    pub(crate) fn next_ms(&self, now_ms: i64) -> Option<i64> {
        self.schedule.enabled.then(|| self.schedule.expression.next_after(now_ms, self.start_ms)).flatten()
    }

    /// Calls the function as at `at_ms` and returns what it gave back.
    pub(crate) async fn fire(&self, invocations: &TaskGroup, at_ms: i64) -> Result<Bytes, FunctionError> {
        let (target, event) = (self.target.clone(), self.event(at_ms));
        let call = invocations.spawn(async move { target.call(event).await });
        call.await.unwrap_or_else(|_| {
            Err(FunctionError { error_type: "Runtime.ExitError".into(), message: "the gateway has stopped".into() })
        })
    }

    fn event(&self, at_ms: i64) -> Bytes {
        if let Some(input) = &self.schedule.input {
            return Bytes::copy_from_slice(input.as_bytes());
        }
        let name = &self.schedule.name;
        // A rule's detail is an object, a scheduler's the text of one.
        let (source, resource, detail) = match self.schedule.kind {
            ScheduleKind::Rule => {
                ("aws.events", format!("arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{name}"), json!({}))
            }
            ScheduleKind::Scheduler => {
                let resource = format!("arn:aws:scheduler:{REGION}:{ACCOUNT_ID}:schedule/default/{name}");
                ("aws.scheduler", resource, json!("{}"))
            }
        };
        let event = json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": "Scheduled Event",
            "source": source,
            "account": ACCOUNT_ID,
            "time": timestamps::with_seconds(at_ms),
            "region": REGION,
            "resources": [resource],
            "detail": detail,
        });
        event.to_string().into()
    }
}

/// Keeps one schedule, for as long as it is polled.
///
/// While a call runs, one more waits; times that pass meanwhile, or while a laptop sleeps, are made up for once.
pub(crate) async fn run(clock: Clock, invocations: TaskGroup, served: Arc<ServedSchedule>, fire_at_start: bool) {
    let (due, mut waiting) = mpsc::channel(1);
    let calling = async {
        while let Some(at_ms) = waiting.recv().await {
            // Its failure was logged where it was called.
            let _ = served.fire(&invocations, at_ms).await;
        }
    };
    let ticking = async {
        // A full channel, here and below, means that a call is waiting already.
        let _ = fire_at_start.then(|| due.try_send(served.start_ms));
        while let Some(next_ms) = served.next_ms(clock.now_ms()) {
            clock.sleep_until(next_ms).await;
            let _ = due.try_send(next_ms);
        }
    };
    tokio::join!(calling, ticking);
}
