//! Working off the queue: claim, take, offer, settle.

use std::collections::{BTreeMap, HashMap};

use shared::app::App;
use shared::delivery::dead_letters::{Dead, Reason};
use shared::delivery::deliver::{self, MAX_THROTTLED, backoff_ms};
use shared::delivery::deliveries::{MAX_FRAMES_PER_USER, Resync, RowKey};
use shared::delivery::queue::{Claimed, Claims, Entry, Resolution, Work};
use shared::error::StoreError;
use shared::ids::{ConnectionId, UserId};
use shared::inbox::Delivery;
use shared::sockets::connections::Connection;
use shared::telemetry::{Counts, Report};

use crate::Drained;

/// How many entries are claimed at once.
const CLAIM: usize = 64;
/// How many of them are worked on before they are settled: what a drain that dies leaves half done.
const CHUNK: usize = 16;

/// How long a connection that was told to sync and did not take it is left alone at least, in milliseconds.
const REST_MS: i64 = 1_000;

/// What a look at the queue told.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In how many milliseconds more is due; 0: there is more now.
    pub(crate) next_in_ms: Option<i64>,
    /// What there was new; `None` where there is no queue.
    pub(crate) generation: Option<u64>,
}

/// Claims once, and works on what it got, in chunks.
pub(crate) async fn work(app: &App, until_ms: i64, drained: &mut Drained) -> Result<Found, StoreError> {
    let is_late = |app: &App| app.clock.now_ms() > until_ms;
    if is_late(app) {
        return Ok(Found::default());
    }
    let Some(Claims { claimed, mut next_in_ms, generation }) = app.moment.queue.claim(CLAIM, app.clock.at()).await
    else {
        return Ok(Found::default());
    };
    let (crowd, others) = crowd(claimed);
    let crowd = if crowd.is_empty() { None } else { Some(crowd.as_slice()) };
    for chunk in others.chunks(CHUNK).chain(crowd) {
        let settled =
            if is_late(app) { give_back(app, chunk, drained).await? } else { work_on(app, chunk, drained).await? };
        if !settled.is_empty() {
            // Where it is not heard, they come back later, and find that they are stale.
            app.moment.queue.settle(&settled, app.clock.at()).await;
        }
        // What is left is due again soon, and nobody is told of it.
        next_in_ms = next_in_ms.into_iter().chain(settled.iter().filter_map(wait_ms)).min();
    }
    Ok(Found { next_in_ms, generation: Some(generation) })
}

/// The entries of users of whom there are too many for a frame each, to be worked on together, and the others.
fn crowd(claimed: Vec<Claimed>) -> (Vec<Claimed>, Vec<Claimed>) {
    let mut counts: HashMap<UserId, usize> = HashMap::new();
    for work in claimed.iter().filter_map(|claimed| claimed.work.as_ref().ok()) {
        *counts.entry(work.user.clone()).or_default() += 1;
    }
    claimed
        .into_iter()
        .partition(|claimed| claimed.work.as_ref().is_ok_and(|work| counts[&work.user] > MAX_FRAMES_PER_USER))
}

/// In how many milliseconds a claim's entry is due again.
fn wait_ms(settled: &Resolution) -> Option<i64> {
    match settled {
        Resolution::Done(_) => None,
        Resolution::Retry(_, entry) => Some(entry.wait_ms),
    }
}

/// Claims that somebody else is to work on, at once. What nobody can read cannot be given back, and is set aside.
async fn give_back(app: &App, chunk: &[Claimed], drained: &mut Drained) -> Result<Vec<Resolution>, StoreError> {
    let mut settled = Vec::new();
    for Claimed { id, work, .. } in chunk {
        settled.push(match work {
            Ok(work) => Resolution::Retry(id.clone(), Entry { work: work.clone(), wait_ms: 0 }),
            Err(payload) => {
                dead_letter(app, Err(payload), drained).await?;
                Resolution::Done(id.clone())
            }
        });
    }
    Ok(settled)
}

async fn work_on(app: &App, chunk: &[Claimed], drained: &mut Drained) -> Result<Vec<Resolution>, StoreError> {
    let (mut works, mut dead): (Vec<(&Claimed, &Work)>, Vec<Resolution>) = Default::default();
    for claimed in chunk {
        match &claimed.work {
            Ok(work) if !claimed.is_poisoned() => works.push((claimed, work)),
            work => {
                dead_letter(app, work.as_ref(), drained).await?;
                dead.push(Resolution::Done(claimed.id.clone()));
            }
        }
    }
    if works.is_empty() {
        return Ok(dead);
    }
    let keys: Vec<RowKey<'_>> = works.iter().map(|(_, work)| (*work).into()).collect();
    let taken = app.record.deliveries.take(&keys, app.clock.at()).await?;
    let mut taken: HashMap<(UserId, i64), Delivery> =
        taken.into_iter().map(|row| ((row.user.clone(), row.notification.cursor.offset), row)).collect();

    // What was not returned is stale: somebody else took it, or there is nothing left to do.
    let mut settled: BTreeMap<usize, Resolution> =
        works.iter().enumerate().map(|(n, (claimed, _))| (n, Resolution::Done(claimed.id.clone()))).collect();
    let mut rows: Rows = Vec::new();
    for (n, (_, work)) in works.iter().enumerate() {
        if let Some(row) = taken.remove(&(work.user.clone(), work.offset)) {
            rows.push((n, row));
        }
    }
    let (behind, mut rows) = far_behind(rows);
    drained.resynced += behind.len();
    let mut again = resync_all(app, &behind).await;

    for (n, row) in &mut rows {
        let left = &works[*n].1.left;
        // The others took it, or came later and have synced.
        row.connections.retain(|connection| left.is_empty() || left.contains(&connection.id));
    }
    let (throttled, rows): (Rows, Rows) = rows.into_iter().partition(|(n, _)| works[*n].1.throttled >= MAX_THROTTLED);
    again.extend(resync_left(app, &throttled).await);
    for (n, fence_ms, wait_ms) in again {
        let work = Work { fence_ms, ..works[n].1.clone() };
        settled.insert(n, Resolution::Retry(works[n].0.id.clone(), Entry { work, wait_ms }));
    }
    drained.pushed += rows.len();
    for (n, entry) in offer(app, rows, |n| works[n].1.throttled).await {
        settled.insert(n, Resolution::Retry(works[n].0.id.clone(), entry));
    }
    Ok(settled.into_values().chain(dead).collect())
}

/// Sets aside what nobody can read, and a row whose workers never came to its end, unless it is finished or another's.
async fn dead_letter(app: &App, work: Result<&Work, &String>, drained: &mut Drained) -> Result<(), StoreError> {
    let (dead, why) = match work {
        Err(payload) => (Dead::Unreadable { payload }, Reason::Unreadable),
        Ok(work) if app.record.deliveries.take(&[work.into()], app.clock.at()).await?.is_empty() => return Ok(()),
        Ok(Work { user, offset, .. }) => (Dead::Push { user, offset: *offset }, Reason::Poisoned),
    };
    app.record.dead_letters.dead_letter(&dead, why, app.clock.at()).await?;
    drained.dead_letter += 1;
    tracing::error!("an entry of the queue was set aside: {}", why.text());
    Ok(())
}

/// Rows, and where they stand among what is worked on.
pub(crate) type Rows = Vec<(usize, Delivery)>;
/// What is left of a row as it is: its place, its fence, and how long it waits.
pub(crate) type Again = (usize, i64, i64);

fn again((n, row): &(usize, Delivery)) -> Again {
    (*n, row.fence_ms, REST_MS + backoff_ms(row.attempt))
}

/// The rows of users who have too many for a frame each, by user, and the others.
pub(crate) fn far_behind(rows: Rows) -> (BTreeMap<UserId, Rows>, Rows) {
    let mut counts: HashMap<UserId, usize> = HashMap::new();
    for (_, row) in &rows {
        *counts.entry(row.user.clone()).or_default() += 1;
    }
    let (mut behind, mut few): (BTreeMap<UserId, Rows>, Rows) = Default::default();
    for (n, row) in rows {
        match counts[&row.user] > MAX_FRAMES_PER_USER {
            true => behind.entry(row.user.clone()).or_default().push((n, row)),
            false => few.push((n, row)),
        }
    }
    (behind, few)
}

/// Tells users who are far behind to sync, on all their connections: whatever arrived until then is told by that, and
/// entries of it that wait yet are stale.
pub(crate) async fn resync_all(app: &App, behind: &BTreeMap<UserId, Rows>) -> Vec<Again> {
    let resync = |(user, rows): (&UserId, &Rows)| Resync {
        user: user.clone(),
        through: rows.iter().map(|(_, row)| row.notification.cursor.offset).max().unwrap_or_default(),
        connections: rows[0].1.connections.clone(),
    };
    let resyncs: Vec<Resync> = behind.iter().map(resync).collect();
    let left = deliver::resync(app, &resyncs).await;
    behind.values().zip(left).filter(|(_, is_left)| *is_left).flat_map(|(rows, _)| rows.iter().map(again)).collect()
}

/// Tells connections to sync that were sent too much again and again, each once. That tells of the rows that are left to
/// them, and of nothing else that their users have.
async fn resync_left(app: &App, rows: &Rows) -> Vec<Again> {
    let mut to: BTreeMap<&ConnectionId, &Connection> = BTreeMap::new();
    for connection in rows.iter().flat_map(|(_, row)| &row.connections) {
        to.insert(&connection.id, connection);
    }
    let each: Vec<&[Connection]> = to.values().map(|connection| std::slice::from_ref(*connection)).collect();
    let left = deliver::push_resync(app, &each).await;
    let left: BTreeMap<&ConnectionId, bool> = to.into_keys().zip(left).collect();
    let (again_rows, told): (Vec<_>, Vec<_>) =
        rows.iter().partition(|(_, row)| row.connections.iter().any(|connection| left[&connection.id]));
    let told: Vec<(&UserId, i64)> =
        told.into_iter().map(|(_, row)| (&row.user, row.notification.cursor.offset)).collect();
    deliver::mark_offered(app, &told).await;
    again_rows.into_iter().map(again).collect()
}

/// Pushes a frame for each row; what is left of some.
async fn offer(app: &App, rows: Rows, throttled: impl Fn(usize) -> u32) -> Vec<(usize, Entry)> {
    if rows.is_empty() {
        return Vec::new();
    }
    let (places, rows): (Vec<usize>, Vec<Delivery>) = rows.into_iter().unzip();
    let throttled: Vec<u32> = places.iter().map(|n| throttled(*n)).collect();
    let counts = Counts { retried: rows.len() as u64, ..Counts::default() };
    let left = deliver::offer(app, &rows, &throttled, Report { counts, ..Report::default() }).await;
    places.into_iter().zip(left).filter_map(|(n, entry)| Some((n, entry?))).collect()
}
