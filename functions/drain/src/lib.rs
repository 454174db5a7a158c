//! The drain: works off the queue, and does for the record what falls due: materialise, end snoozes, push, expire, purge.
//! It has no leader, no lock and no memory of the last run. Any number may run at once, and one that dies loses nothing.

mod backlog;
mod drained;
mod queue;
mod record;
mod traced;
mod web_push;

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt;
use shared::app::App;
use shared::delivery::deliveries::NextDue;
use shared::error::StoreError;
use shared::sockets::streams::Listening;
use shared::telemetry::gauges;
use shared::telemetry::invocation::{self, Origin, note_error};

pub use crate::drained::Drained;
use crate::queue::Found;
use crate::web_push::{DueKinds, Sending};

/// The variables that it requires.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// How many chunks are materialised at once if they are small.
const MAX_CHUNKS: usize = 100;
/// How many chunks are read if the last ones were large.
const MIN_CHUNKS: usize = 4;
/// The number of queue rounds after which the record is checked again, even if it had nothing before.
const ROUNDS_BETWEEN_CHECKS: usize = 16;
/// By how much the record's clock may be ahead of this process's, in milliseconds, without delaying anything.
const CLOCK_DIFFERENCE_MS: i64 = 50;
/// How often a drain that cannot hear of new work looks for it; on average, work waits half of that.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How often a drain that hears of it looks all the same, since it may have missed something.
const NET_INTERVAL: Duration = Duration::from_millis(100);
/// How much longer than `DRAIN_LINGER_MS` it waits for what falls due, as a fraction of that. With the default that is more
/// than a minute, so nothing falls due between two runs of the schedule.
const EXTRA_LINGER: f64 = 0.3;
/// How long an ending drain still processes work that was enqueued at the last moment, in milliseconds.
const LAST_ROUND_MS: i64 = 2_000;
/// How long a drain works at least if there is work, in milliseconds: `DRAIN_LINGER_MS` may be less than a statement takes.
const MIN_WORK_MS: i64 = 2_000;
/// How long before its deadline a drain stops starting work, in milliseconds.
const DEADLINE_MARGIN_MS: i64 = 10_000;

/// Works until nothing is due soon: for at most `DRAIN_LINGER_MS` if there is always work, and a third longer if it waits for
/// what falls due. Ends well before `deadline_ms` (milliseconds since 1970).
pub async fn handle(app: &App, deadline_ms: i64) -> Drained {
    handle_until(app, deadline_ms, Duration::ZERO, std::future::pending()).await
}

/// The same in a process that lasts longer. Once it has no work, it listens for more for `idle`, so that work which
/// follows soon does not start another run; zero where each run is billed. Once `ending` returns, it waits for nothing
/// more.
pub async fn handle_until(app: &App, deadline_ms: i64, idle: Duration, ending: impl Future<Output = ()>) -> Drained {
    let draining = async {
        let mut drained = Drained::default();
        if let Err(error) = drain(app, deadline_ms, idle, pin!(ending), &mut drained).await {
            // Rows that were taken become due again, and the schedule starts another run.
            tracing::error!(%error, "the drain stopped before its work was done");
            note_error(&error.as_told());
            drained.failed = true;
        }
        gauges::publish(app).await;
        drained
    };
    invocation::run(Origin::internal("drain"), draining, |_| None).await
}

async fn drain(
    app: &App,
    deadline_ms: i64,
    idle: Duration,
    ending: Pin<&mut impl Future<Output = ()>>,
    drained: &mut Drained,
) -> Result<(), StoreError> {
    record::persist_all(app, drained).await;
    // After the logs, which may have taken as long as all the rest is given.
    let deadlines = Deadlines::new(app, deadline_ms, idle);
    record::close_expired(app, deadlines.work_ms, drained).await?;
    let mut sending = Sending::default();
    let lingered = linger(app, &deadlines, ending, &mut sending, drained).await;
    if lingered.is_err() {
        // From now on, a caller that enqueues work wakes another drain.
        app.moment.queue.sign_off(app.clock.at()).await;
    }
    // A process may be frozen as soon as its function has answered.
    let sent = sending.end().await;
    lingered?;
    drained.web_pushed += sent?;
    record::purge(app, deadlines.wait_ms, drained).await
}

/// When a run ends.
struct Deadlines {
    /// If there is always work, in milliseconds since 1970.
    work_ms: i64,
    /// If it waits for what falls due, in milliseconds since 1970.
    wait_ms: i64,
    /// How long it listens for new work once it has none.
    idle: Duration,
}

impl Deadlines {
    fn new(app: &App, deadline_ms: i64, idle: Duration) -> Self {
        let (now_ms, linger) = (app.clock.now_ms(), app.config.drain_linger);
        let last_ms = deadline_ms.saturating_sub(DEADLINE_MARGIN_MS);
        let after = |ms| now_ms.saturating_add(ms).min(last_ms);
        let (work_ms, wait_ms) = (whole_ms(linger).max(MIN_WORK_MS), whole_ms(linger.mul_f64(1.0 + EXTRA_LINGER)));
        Self { work_ms: after(work_ms), wait_ms: after(wait_ms), idle }
    }

    /// Whether there is time to listen for new work and still do it: callers count on this run.
    fn may_idle(&self, now_ms: i64, until_ms: i64) -> bool {
        !self.idle.is_zero() && now_ms.saturating_add(whole_ms(self.idle)) < until_ms.min(self.wait_ms)
    }
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Does what is due, as long as more falls due soon.
async fn linger(
    app: &App,
    deadlines: &Deadlines,
    mut ending: Pin<&mut impl Future<Output = ()>>,
    sending: &mut Sending,
    drained: &mut Drained,
) -> Result<(), StoreError> {
    let mut news = None;
    loop {
        let is_working = app.clock.now_ms() <= deadlines.work_ms;
        let until_ms = if is_working { deadlines.work_ms } else { deadlines.wait_ms };
        let before = *drained;
        let (found, next) = work(app, until_ms, sending, drained).await?;
        let now_ms = app.clock.now_ms();
        let mut next = match next {
            Some(next) => next,
            None => app.record.deliveries.next_due().await?,
        };
        if sending.is_full() {
            // This looks again at the end of a batch.
            (next.web_push, next.digest) = (None, None);
        }
        let next_ms = [next.first(), found.next_ms].into_iter().flatten().min();
        let next_ms = next_ms.filter(|next_ms| *next_ms <= deadlines.wait_ms && now_ms <= until_ms);
        if next_ms.is_none() && !sending.is_running() {
            // Without a queue, nothing could be heard.
            if found.generation.is_some() && deadlines.may_idle(now_ms, until_ms) {
                tokio::select! {
                    () = new_work(app, found.generation, &mut news) => continue,
                    () = tokio::time::sleep(deadlines.idle) => {}
                    () = &mut ending => {
                        app.moment.queue.sign_off(app.clock.at()).await;
                        return Ok(());
                    }
                }
            }
            // A caller that enqueues work from now on wakes another drain; until now it counted on this one.
            let generation = app.moment.queue.sign_off(app.clock.at()).await;
            if generation == found.generation || generation.is_none() {
                return Ok(());
            }
            if app.clock.now_ms() > until_ms {
                queue::work(app, app.clock.now_ms() + LAST_ROUND_MS, drained).await?;
                return Ok(());
            }
            continue;
        }
        let next_ms = next_ms.unwrap_or(i64::MAX);
        // Something is due but cannot be taken: another worker has it, or the record's clock is behind this process's.
        let is_held = next_ms <= now_ms && before == *drained;
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL), if is_held => {}
            () = app.clock.sleep_until(next_ms), if !is_held => {}
            sent = sending.done(), if sending.is_running() => drained.web_pushed += sent?,
            // Past its time it only waits for what it sends.
            () = new_work(app, found.generation, &mut news), if app.clock.now_ms() <= until_ms => {}
            () = &mut ending => {
                app.moment.queue.sign_off(app.clock.at()).await;
                return Ok(());
            }
        }
    }
}

/// Does what is due now, alternating between queue and record so that neither waits for the other. Returns what the record
/// has next if nothing was done for it.
async fn work(
    app: &App,
    until_ms: i64,
    sending: &mut Sending,
    drained: &mut Drained,
) -> Result<(Found, Option<NextDue>), StoreError> {
    let mut max_chunks = MAX_CHUNKS;
    let (mut due, mut next, mut round) = (IsDue::default(), None, 0_usize);
    loop {
        round += 1;
        let found = queue::work(app, until_ms, drained).await?;
        if round == 1 || found.has_written || round.is_multiple_of(ROUNDS_BETWEEN_CHECKS) {
            let asked = app.record.deliveries.next_due().await?;
            due = IsDue::now(app, &asked);
            next = (!due.is_any()).then_some(asked);
        }
        let is_in_time = || app.clock.now_ms() <= until_ms;
        if due.chunks && is_in_time() {
            let (done, first_web_push_ms) = record::materialise(app, max_chunks, drained).await?;
            // Large chunks go one by one, and reading the others would be wasted.
            max_chunks = (2 * done).clamp(MIN_CHUNKS, MAX_CHUNKS);
            due.chunks = done > 0;
            due.web_pushes |= is_past(app, first_web_push_ms);
        }
        if due.snoozes && is_in_time() {
            let (done, first_web_push_ms) = record::unsnooze(app, drained).await?;
            due.snoozes = done > 0;
            due.web_pushes |= is_past(app, first_web_push_ms);
        }
        due.expiries = due.expiries && is_in_time() && record::expire(app, drained).await?;
        due.rows = due.rows && is_in_time() && record::push_due(app, drained).await?;
        due.messages = due.messages && is_in_time() && record::push_messages(app, drained).await?;
        if (due.web_pushes || due.digests) && is_in_time() {
            sending.start(app, DueKinds { pushes: due.web_pushes, digests: due.digests }).await?;
            (due.web_pushes, due.digests) = (false, false);
        }
        if (!due.is_any() && !found.has_more) || !is_in_time() {
            return Ok((found, next));
        }
    }
}

/// Whether this time has come or may have by the record's clock; `None` is never.
fn is_due(app: &App, due_ms: Option<i64>) -> bool {
    is_past(app, due_ms.map(|due_ms| due_ms - CLOCK_DIFFERENCE_MS))
}

/// Whether this time has come by this process's clock, for what may be a moment late; `None` is never.
fn is_past(app: &App, due_ms: Option<i64>) -> bool {
    due_ms.is_some_and(|due_ms| due_ms <= app.clock.now_ms())
}

/// What of the record is due.
#[derive(Default)]
struct IsDue {
    chunks: bool,
    snoozes: bool,
    expiries: bool,
    rows: bool,
    messages: bool,
    web_pushes: bool,
    digests: bool,
}

impl IsDue {
    fn now(app: &App, next: &NextDue) -> Self {
        let is_due = |due_ms| is_due(app, due_ms);
        let NextDue { chunk, snooze, expiry, row, message, web_push, digest } = *next;
        Self {
            chunks: is_due(chunk),
            snoozes: is_due(snooze),
            expiries: is_due(expiry),
            rows: is_due(row),
            messages: is_due(message),
            web_pushes: is_past(app, web_push),
            digests: is_past(app, digest),
        }
    }

    fn is_any(&self) -> bool {
        self.chunks || self.snoozes || self.expiries || self.rows || self.messages || self.web_pushes || self.digests
    }
}

/// Returns once work was enqueued after `generation`; never without a queue. It may also return for work that the last claim has
/// found already. `news` is kept from one wait to the next.
async fn new_work(app: &App, generation: Option<u64>, news: &mut Option<Box<dyn Listening>>) {
    if news.is_none() {
        *news = app.moment.queue.hear_of_work().await;
    }
    // What was told until now is in the generation that is read next; heard later, it would end the wait.
    if news.as_mut().is_some_and(|news| is_over(news.as_mut())) {
        *news = None;
    }
    loop {
        // At first at once: it may have been enqueued before this listened.
        let current = app.moment.queue.heartbeat(app.clock.at()).await;
        if current.is_some() && current != generation {
            return;
        }
        match news {
            Some(listening) => match tokio::time::timeout(NET_INTERVAL, listening.next()).await {
                // The claim that follows need not wait for the generation. If the last claim gave none, the next one may not
                // either, and each message would cost one.
                Ok(Some(_)) if generation.is_some() => return,
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => *news = None,
            },
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Takes what is there to be heard; returns whether nothing more will come.
fn is_over(news: &mut dyn Listening) -> bool {
    loop {
        match news.next().now_or_never() {
            Some(Some(_)) => {}
            Some(None) => return true,
            None => return false,
        }
    }
}
