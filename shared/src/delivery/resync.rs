//! Telling devices to sync, with one frame in place of many: users with a backlog after an outage, and connections that were
//! throttled again and again.

use crate::app::App;
use crate::delivery::deliveries::Resync;
use crate::ids::UserId;
use crate::protocol::{self, Event};
use crate::sockets::connections::Connection;
use crate::sockets::outgoing::{self, Outgoing, PushResult};

/// Tells users with a backlog to sync. If every connection of a user accepted that, the record marks the backlog as offered.
/// Returns, for each user, whether a connection is pending; its rows then come back when their `push_at` has passed.
pub async fn resync(app: &App, resyncs: &[Resync]) -> Vec<bool> {
    let connections: Vec<&[Connection]> = resyncs.iter().map(|resync| resync.connections.as_slice()).collect();
    let pending = push_resync(app, &connections).await;
    let told = resyncs.iter().zip(&pending).filter(|(_, is_pending)| !**is_pending);
    let told: Vec<(&UserId, i64)> = told.map(|(resync, _)| (&resync.user, resync.through)).collect();
    if !told.is_empty()
        && let Err(error) = app.record.deliveries.mark_resynced(&told, app.clock.at()).await
    {
        tracing::warn!(%error, "users who got a resync could not be marked");
    }
    pending
}

/// Tells groups of connections to sync. Returns, for each group, whether one of its connections is pending.
pub async fn push_resync(app: &App, groups: &[&[Connection]]) -> Vec<bool> {
    let frame = protocol::frame(&Event::Resync);
    let frames: Vec<Outgoing<'_>> =
        groups.iter().map(|connections| Outgoing { frame: frame.clone(), connections }).collect();
    let results = outgoing::push(app, &frames).await;
    let is_pending = |result: &PushResult| matches!(result, PushResult::Pending(_));
    results.iter().map(|results| results.iter().any(is_pending)).collect()
}
