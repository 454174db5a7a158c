//! Processing the queue: claim, take the rows from the record, push, tell who went offline, settle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use shared::app::App;
use shared::chat::reading;
use shared::delivery::Delivery;
use shared::delivery::backoff::backoff_ms;
use shared::delivery::dead_letters::{Dead, Reason};
use shared::delivery::deliveries::RowKey;
use shared::delivery::offer::{self, MAX_THROTTLED, MIN_RETRY_MS, Offer};
use shared::delivery::queue::{ClaimId, Claimed, Claims, Entry, MAX_UNKNOWN_AGE_MS, Resolution};
use shared::delivery::resync::push_resync;
use shared::delivery::work::{Malformed, PushWork, UnknownWork, Work};
use shared::emit::telling;
use shared::error::StoreError;
use shared::fast::log::LogId;
use shared::fast::write::Extent;
use shared::ids::{ConnectionId, UserId};
use shared::presence::telling::settle;
use shared::sockets::connections::Connection;
use shared::sockets::push::MAX_AT_ONCE;
use shared::telemetry::trace::TARGET;
use shared::telemetry::{Counts, Report};
use tracing::instrument;

use crate::backlog::{resync_each, split_backlogged};
use crate::drained::Drained;
use crate::traced::Traced;

/// How many entries are claimed at once. The pushes among them are taken, pushed and settled together, so at most this
/// many are left half done if a drain crashes.
const MAX_CLAIMED: usize = 64;
/// How many entries of other kinds are processed before they are settled. Events and receipts are told one after the
/// other, and after a crash at most this many are told again.
const CHUNK: usize = 16;

/// How long parts of rows that were taken together are begun, in milliseconds. With the longest that a part takes and a resync
/// after it, that is less than until the rows are due again, when any drain pushes them to all connections.
const MAX_PUSHING_MS: i64 = 1_000;

/// How long logs are written at most before other work gets its turn.
const MAX_PERSISTING: Duration = Duration::from_secs(5);
/// The pause before a log is written again that the record refused, or that may have more where Redis gives no answer, in
/// milliseconds.
const PERSIST_AGAIN_MS: i64 = 1_000;

/// What a look at the queue found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// When more is due, in milliseconds since 1970.
    pub(crate) next_ms: Option<i64>,
    /// Whether more was due already.
    pub(crate) has_more: bool,
    /// Whether logs were written, so that the record may have something to push.
    pub(crate) has_written: bool,
    /// The queue's generation; `None` without a queue.
    pub(crate) generation: Option<u64>,
}

/// Claims once and processes the claimed entries. After `until_ms` it returns claims instead.
pub(crate) async fn work(app: &App, until_ms: i64, drained: &mut Drained) -> Result<Found, StoreError> {
    if is_late(app, until_ms) {
        return Ok(Found::default());
    }
    // What the queue says of the time until then is true from here on, however long the claimed entries take.
    let claimed_ms = app.clock.now_ms();
    let Some(claims) = app.moment.queue.claim(MAX_CLAIMED, app.clock.at()).await else {
        return Ok(Found::default());
    };
    let Claims { claimed, next_in_ms, generation } = claims;
    let mut has_more = next_in_ms == Some(0);
    let mut next_ms = next_in_ms.map(|in_ms| claimed_ms.saturating_add(in_ms));
    // Logs are written together, many entries with one commit.
    let (logs, claimed): (Vec<Claimed>, Vec<Claimed>) =
        claimed.into_iter().partition(|claimed| matches!(claimed.work, Ok(Work::Persist(_))));
    let has_written = !logs.is_empty();
    if has_written {
        let resolutions = persist(app, &logs, drained).await;
        app.moment.queue.settle(&resolutions, app.clock.at()).await;
        has_more |= resolutions.iter().filter_map(retry_in_ms).any(|retry_in_ms| retry_in_ms <= 0);
    }
    // An entry that was claimed before may be what ended its worker. The queue gives it alone, but each of several
    // instances may give one beside entries of the others: it comes last, and on its own.
    let (suspects, claimed): (Vec<Claimed>, Vec<Claimed>) =
        claimed.into_iter().partition(|claimed| claimed.attempts > 1);
    let (pushes, others): (Vec<Claimed>, Vec<Claimed>) =
        claimed.into_iter().partition(|claimed| matches!(claimed.work, Ok(Work::Push(_))));
    let chunks = [pushes.as_slice()].into_iter().chain(others.chunks(CHUNK)).chain(suspects.chunks(1));
    for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
        let resolutions = process(app, chunk, until_ms, drained).await?;
        if !resolutions.is_empty() {
            // If the moment is unavailable, the entries come back when their claims lapse, and are stale by then.
            app.moment.queue.settle(&resolutions, app.clock.at()).await;
        }
        // Retries are due soon, and nothing announces them.
        if let Some(retry_in_ms) = resolutions.iter().filter_map(retry_in_ms).min() {
            has_more |= retry_in_ms <= 0;
            let retry_ms = app.clock.now_ms().saturating_add(retry_in_ms);
            next_ms = Some(next_ms.map_or(retry_ms, |next_ms| next_ms.min(retry_ms)));
        }
    }
    Ok(Found { next_ms, has_more, has_written, generation: Some(generation) })
}

/// Whether nothing more may begin.
fn is_late(app: &App, until_ms: i64) -> bool {
    app.clock.now_ms() > until_ms
}

/// Writes the logs that these claims name.
#[instrument(target = TARGET, level = "trace", skip_all)]
async fn persist(app: &App, claimed: &[Claimed], drained: &mut Drained) -> Vec<Resolution> {
    let log = |claimed: &Claimed| match claimed.work {
        Ok(Work::Persist(log)) => Some(log),
        _ => None,
    };
    let logs: BTreeSet<LogId> = claimed.iter().filter_map(log).collect();
    let logs: Vec<LogId> = logs.into_iter().collect();
    // Until they are empty: an append enqueues its log only if the log was empty.
    let written = app.log_writer.write(&logs, Extent::Everything, MAX_PERSISTING, app.clock.at()).await;
    drained.persisted += written.entries;
    let wait_ms = if written.failure.is_some() || written.is_silent { PERSIST_AGAIN_MS } else { 0 };
    let has_more = |log: &LogId| written.is_silent || written.unfinished.contains(log);
    let resolve = |claimed: &Claimed| match log(claimed).filter(has_more) {
        Some(log) => Resolution::Retry(claimed.id.clone(), Entry { work: Work::Persist(log), wait_ms }),
        None => Resolution::Done(claimed.id.clone()),
    };
    claimed.iter().map(resolve).collect()
}

fn retry_in_ms(resolution: &Resolution) -> Option<i64> {
    match resolution {
        Resolution::Retry(_, entry) => Some(entry.wait_ms),
        Resolution::Done(_) | Resolution::Return(_) => None,
    }
}

/// Lets other drains process this claim at once. A malformed entry cannot be given back and is dead-lettered.
async fn give_back(app: &App, claimed: &Claimed, drained: &mut Drained) -> Result<Resolution, StoreError> {
    let id = claimed.id.clone();
    Ok(match &claimed.work {
        Ok(work @ (Work::Push(_) | Work::Presence(_) | Work::Receipt(..) | Work::Emit(_) | Work::Persist(_))) => {
            Resolution::Retry(id, Entry { work: work.clone(), wait_ms: 0 })
        }
        Ok(Work::Unknown(unknown)) => return_unknown(app, claimed, unknown, drained).await?,
        Err(malformed) => dead_letter_malformed(app, id, malformed, drained).await?,
    })
}

/// Processes entries, or gives them back once `until_ms` has passed.
#[instrument(target = TARGET, level = "trace", skip_all)]
async fn process(
    app: &App,
    chunk: &[Claimed],
    until_ms: i64,
    drained: &mut Drained,
) -> Result<Vec<Resolution>, StoreError> {
    let (mut pushes, mut left, mut resolutions) = (Vec::new(), Vec::new(), Vec::new());
    for claimed in chunk {
        let id = claimed.id.clone();
        match &claimed.work {
            // Its claim lapses, so that its attempts go on counting and it is claimed alone again.
            _ if is_late(app, until_ms) && claimed.attempts > 1 => {}
            // Asked for each, since telling an event to many devices takes long.
            _ if is_late(app, until_ms) => resolutions.push(give_back(app, claimed, drained).await?),
            Ok(Work::Push(push)) if claimed.is_poisoned() => {
                dead_letter_poisoned(app, push, drained).await?;
                resolutions.push(Resolution::Done(id));
            }
            Ok(Work::Push(push)) => pushes.push((id, push)),
            // It may be what crashes its workers. Clients that ask for presence get the right answer without it.
            Ok(Work::Presence(_) | Work::Receipt(..) | Work::Emit(_)) if claimed.is_poisoned() => {
                resolutions.push(Resolution::Done(id));
            }
            Ok(Work::Presence(user)) => left.push((id, user)),
            Ok(work @ Work::Receipt(chat, user)) => {
                let again = reading::tell_later(app, user, *chat).await?;
                let retry = |wait_ms| Resolution::Retry(id.clone(), Entry { work: work.clone(), wait_ms });
                resolutions.push(again.map_or(Resolution::Done(id.clone()), retry));
            }
            Ok(Work::Emit(emit)) => {
                let traced = Traced::begin("event", std::iter::once(emit.trace));
                let next = telling::tell_page(app, emit).await?;
                traced.end();
                let retry = |next| Resolution::Retry(id.clone(), Entry { work: Work::Emit(next), wait_ms: 0 });
                resolutions.push(next.map_or(Resolution::Done(id.clone()), retry));
            }
            // They were written before.
            Ok(Work::Persist(_)) => resolutions.push(Resolution::Done(id)),
            Ok(Work::Unknown(unknown)) => resolutions.push(return_unknown(app, claimed, unknown, drained).await?),
            Err(malformed) => resolutions.push(dead_letter_malformed(app, id, malformed, drained).await?),
        }
    }
    resolutions.extend(settle_presence(app, left).await);
    if !pushes.is_empty() {
        resolutions.extend(push(app, pushes, until_ms, drained).await?);
    }
    Ok(resolutions)
}

/// Tells of users who went offline. Those who are about to are asked after again then.
async fn settle_presence(app: &App, left: Vec<(ClaimId, &UserId)>) -> Vec<Resolution> {
    let users: Vec<&UserId> = left.iter().map(|(_, user)| *user).collect();
    let settled = left.into_iter().zip(settle(app, &users).await);
    let resolve = |((id, user), again_in_ms): ((ClaimId, &UserId), Option<i64>)| match again_in_ms {
        Some(wait_ms) => Resolution::Retry(id, Entry { work: Work::Presence(user.clone()), wait_ms }),
        None => Resolution::Done(id),
    };
    settled.map(resolve).collect()
}

/// Leaves work of an unknown kind in the queue for a drain that knows it, or dead-letters it if none has come for a day.
async fn return_unknown(
    app: &App,
    claimed: &Claimed,
    unknown: &UnknownWork,
    drained: &mut Drained,
) -> Result<Resolution, StoreError> {
    if app.clock.now_ms() - claimed.due_ms < MAX_UNKNOWN_AGE_MS {
        drained.returned += 1;
        return Ok(Resolution::Return(claimed.id.clone()));
    }
    dead_letter(app, &Dead::Held { payload: unknown.text() }, Reason::Unknown, drained).await?;
    Ok(Resolution::Done(claimed.id.clone()))
}

async fn dead_letter_malformed(
    app: &App,
    id: ClaimId,
    Malformed(payload): &Malformed,
    drained: &mut Drained,
) -> Result<Resolution, StoreError> {
    dead_letter(app, &Dead::Held { payload }, Reason::Unreadable, drained).await?;
    Ok(Resolution::Done(id))
}

/// Dead-letters a row whose attempts all ended without a result, unless it is finished or another worker has it.
async fn dead_letter_poisoned(app: &App, push: &PushWork, drained: &mut Drained) -> Result<(), StoreError> {
    if app.record.deliveries.take(&[push.into()], app.clock.at()).await?.is_empty() {
        return Ok(());
    }
    dead_letter(app, &Dead::Push { user: &push.user, offset: push.offset }, Reason::Poisoned, drained).await
}

async fn dead_letter(app: &App, dead: &Dead<'_>, reason: Reason, drained: &mut Drained) -> Result<(), StoreError> {
    app.record.dead_letters.dead_letter(dead, reason, app.clock.at()).await?;
    drained.dead_lettered += 1;
    tracing::error!("an entry of the queue was dead-lettered: {}", reason.text());
    Ok(())
}

/// A claimed push, and its row as taken from the record.
struct Push<'a> {
    claim: ClaimId,
    work: &'a PushWork,
    row: Delivery,
}

impl Push<'_> {
    fn done(self) -> Resolution {
        Resolution::Done(self.claim)
    }

    fn retry(self) -> Resolution {
        let wait_ms = MIN_RETRY_MS + backoff_ms(self.row.attempt);
        self.retry_in(wait_ms)
    }

    /// Lets other drains push the row at once.
    fn give_back(self) -> Resolution {
        self.retry_in(0)
    }

    /// Retries the same push of the row, whose fence has moved.
    fn retry_in(self, wait_ms: i64) -> Resolution {
        let work = PushWork { fence_ms: self.row.fence_ms, ..self.work.clone() };
        Resolution::Retry(self.claim, Entry { work: work.into(), wait_ms })
    }
}

/// Pushes rows: a frame for each, or one resync for each user with a backlog and for each connection that was throttled
/// again and again. What is left after `until_ms` is given back.
async fn push(
    app: &App,
    claims: Vec<(ClaimId, &PushWork)>,
    until_ms: i64,
    drained: &mut Drained,
) -> Result<Vec<Resolution>, StoreError> {
    let keys: Vec<RowKey<'_>> = claims.iter().map(|(_, work)| (*work).into()).collect();
    let taken = app.record.deliveries.take(&keys, app.clock.at()).await?;
    // Counted from here, so that the first part always begins, however long the record took.
    let parts_until_ms = until_ms.min(app.clock.now_ms().saturating_add(MAX_PUSHING_MS));
    let mut taken: HashMap<(UserId, i64), Delivery> =
        taken.into_iter().map(|row| ((row.user.clone(), row.notification.cursor.offset), row)).collect();
    let mut newest: HashMap<(&UserId, i64), i64> = HashMap::new();
    for (_, work) in &claims {
        let fence_ms = newest.entry((&work.user, work.offset)).or_insert(work.fence_ms);
        *fence_ms = work.fence_ms.max(*fence_ms);
    }
    let (mut pushes, mut resolutions) = (Vec::new(), Vec::new());
    for (claim, work) in claims {
        let is_newest = newest.get(&(&work.user, work.offset)) == Some(&work.fence_ms);
        match is_newest.then(|| taken.remove(&(work.user.clone(), work.offset))).flatten() {
            Some(row) => pushes.push(Push { claim, work, row }),
            // Stale: another worker has the row, a later entry is for it, or there is nothing left to push.
            None => resolutions.push(Resolution::Done(claim)),
        }
    }
    let (backlogged, mut pushes) = split_backlogged(pushes, |push| &push.row);
    for Push { work, row, .. } in &mut pushes {
        // Other connections have accepted it, or came later and have synced.
        row.connections.retain(|connection| work.left.is_empty() || work.left.contains(&connection.id));
    }
    let (throttled, pushes): (Vec<_>, Vec<_>) =
        pushes.into_iter().partition(|push| push.work.throttled >= MAX_THROTTLED);
    for part in parts(pushes) {
        if is_late(app, parts_until_ms) {
            resolutions.extend(part.into_iter().map(Push::give_back));
        } else {
            drained.pushed += part.len();
            resolutions.extend(offer_rows(app, part).await);
        }
    }
    // These come last: their devices did not keep up, and the others must not wait for them.
    if is_late(app, until_ms) {
        let left = throttled.into_iter().chain(backlogged.into_values().flatten());
        resolutions.extend(left.map(Push::give_back));
        return Ok(resolutions);
    }
    drained.resynced += backlogged.len();
    let (connections, users) = tokio::join!(resync_connections(app, throttled), resync_users(app, backlogged));
    resolutions.extend(connections);
    resolutions.extend(users);
    Ok(resolutions)
}

/// Rows in parts of at most [`MAX_AT_ONCE`] frames, unless one row has more, in the same order. Of more frames, one push may
/// leave out the last if devices are slow, which would cost the rows of other users an attempt.
fn parts(pushes: Vec<Push<'_>>) -> Vec<Vec<Push<'_>>> {
    let (mut parts, mut room): (Vec<Vec<Push<'_>>>, _) = (Vec::new(), 0);
    for push in pushes {
        let frames = push.row.connections.len();
        match parts.last_mut() {
            Some(part) if frames <= room => part.push(push),
            _ => {
                parts.push(vec![push]);
                room = MAX_AT_ONCE;
            }
        }
        room = room.saturating_sub(frames);
    }
    parts
}

/// Tells users with a backlog to sync on all their connections. That covers everything that has arrived so far, so waiting
/// entries for it are stale.
async fn resync_users(app: &App, backlogged: BTreeMap<UserId, Vec<Push<'_>>>) -> Vec<Resolution> {
    let pending = resync_each(app, &backlogged, |push| &push.row).await;
    let users = backlogged.into_values().zip(pending);
    users
        .flat_map(|(pushes, is_pending)| {
            pushes.into_iter().map(move |push| if is_pending { push.retry() } else { push.done() })
        })
        .collect()
}

/// Tells connections to sync that were throttled again and again, each once. That covers the rows that are left for them,
/// and no other row of their users.
async fn resync_connections(app: &App, pushes: Vec<Push<'_>>) -> Vec<Resolution> {
    let connections: BTreeMap<&ConnectionId, &Connection> =
        pushes.iter().flat_map(|push| &push.row.connections).map(|connection| (&connection.id, connection)).collect();
    let each: Vec<&[Connection]> = connections.values().map(|connection| std::slice::from_ref(*connection)).collect();
    let pending: BTreeMap<ConnectionId, bool> =
        connections.keys().map(|id| (*id).clone()).zip(push_resync(app, &each).await).collect();
    let is_pending = |push: &Push<'_>| push.row.connections.iter().any(|connection| pending[&connection.id]);
    let (again, told): (Vec<_>, Vec<_>) = pushes.into_iter().partition(is_pending);
    let rows: Vec<(&UserId, i64)> =
        told.iter().map(|push| (&push.row.user, push.row.notification.cursor.offset)).collect();
    offer::mark_offered(app, &rows).await;
    again.into_iter().map(Push::retry).chain(told.into_iter().map(Push::done)).collect()
}

/// Pushes a frame for each row.
async fn offer_rows(app: &App, pushes: Vec<Push<'_>>) -> Vec<Resolution> {
    if pushes.is_empty() {
        return Vec::new();
    }
    let offers = pushes.iter().map(|Push { work, row, .. }| Offer { delivery: row, throttled: work.throttled });
    let offers: Vec<Offer<'_>> = offers.collect();
    let counts = Counts { retried: offers.len() as u64, ..Counts::default() };
    let traced = Traced::begin("notifications", pushes.iter().map(|push| push.row.notification.content.trace));
    let left = offer::offer(app, &offers, Report { counts, ..Report::default() }).await;
    traced.end();
    let resolve = |(push, left): (Push<'_>, Option<Entry>)| match left {
        Some(entry) => Resolution::Retry(push.claim, entry),
        None => push.done(),
    };
    pushes.into_iter().zip(left).map(resolve).collect()
}
