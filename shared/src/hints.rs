//! The promise of the moment to tell programs beside us what happens, as pub/sub tells: at most once.

use async_trait::async_trait;

use crate::ids::{NotificationId, UserId};

/// Hints for whoever listens. Losing one loses nothing: the record has it.
#[async_trait]
pub trait Hints: Send + Sync {
    /// Publishes what was accepted, all of it in one pipeline. Never fails and never takes longer than the
    /// moment's own bound; where the moment is away, nothing is published.
    async fn accepted(&self, accepted: &[Accepted<'_>]);
}

/// One accepted notification: ids only, no content.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// Which it is.
    pub id: NotificationId,
    /// Its type.
    pub kind: &'a str,
}
