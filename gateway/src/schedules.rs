//! Runs schedules by the clock. Each fires at the start and then at its times; calls of one schedule never pile up.

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

/// A schedule with its function.
pub(crate) struct ServedSchedule {
    pub(crate) schedule: Schedule,
    pub(crate) target: Target,
    /// When serving began, from which rates count, in milliseconds since 1970.
    pub(crate) start_ms: i64,
}

impl ServedSchedule {
    /// When it fires next, in milliseconds since 1970; `None` if it is disabled or its years have passed.
    pub(crate) fn next_ms(&self, now_ms: i64) -> Option<i64> {
        self.schedule.enabled.then(|| self.schedule.expression.next_after(now_ms, self.start_ms)).flatten()
    }

    /// Calls the function with an event of the time `at_ms`, and returns its output.
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
        // The detail is an object in a rule's event, and a string of JSON in a scheduler's.
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

/// Runs one schedule for as long as the future is polled.
///
/// While a call is running, at most one more waits: all times that pass meanwhile, or while the machine sleeps, are
/// made up for by a single call.
pub(crate) async fn run(clock: Clock, invocations: TaskGroup, served: Arc<ServedSchedule>, fire_at_start: bool) {
    let (due, mut waiting) = mpsc::channel(1);
    let calling = async {
        while let Some(at_ms) = waiting.recv().await {
            // A failure has already been logged by `Target::call`.
            let _ = served.fire(&invocations, at_ms).await;
        }
    };
    let ticking = async {
        // If the channel is full, here and below, a call is already waiting.
        let _ = fire_at_start.then(|| due.try_send(served.start_ms));
        while let Some(next_ms) = served.next_ms(clock.now_ms()) {
            clock.sleep_until(next_ms).await;
            let _ = due.try_send(next_ms);
        }
    };
    tokio::join!(calling, ticking);
}
