//! What one run of the drain did.

use serde::Serialize;

/// The result of the function, which its log and an operator's invocation show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drained {
    /// Chunks that were materialised.
    pub chunks: usize,
    /// Notifications that were pushed after an earlier push was not finished.
    pub pushed: usize,
    /// Messages of chats that were pushed after an earlier push was not finished, or to further members.
    pub messages: usize,
    /// Sends and messages that were accepted fast and written to the record.
    pub persisted: usize,
    /// Pushes that push services accepted.
    pub web_pushed: usize,
    /// Users with a backlog who got a resync.
    pub resynced: usize,
    /// Snoozes that ended.
    pub unsnoozed: usize,
    /// Notifications that expired and became tombstones.
    pub expired: usize,
    /// Entries of the queue that were dead-lettered.
    pub dead_lettered: usize,
    /// Entries of the queue that were left for a version that knows their kind.
    pub returned: usize,
    /// Connections that were closed because their token has expired.
    pub closed: usize,
    /// Old rows that were purged.
    pub purged: usize,
    /// Whether a store failed, so that the rest was left to the next run.
    pub failed: bool,
}
