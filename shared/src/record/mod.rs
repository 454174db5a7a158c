//! The record: what must outlive everything. Its promises are defined by the domains; the stores that keep them are
//! here.

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::sync::Arc;

use crate::auth::Revocations;
use crate::chat::chats::Chats;
use crate::chat::messages::Messages;
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::deliveries::Deliveries;
use crate::fast::FastRecord;
use crate::inbox::Inbox;
use crate::inbox::epochs::Epochs;
use crate::inbox::history::History;
use crate::inbox::retention::Retention;
use crate::inbox::sends::Sends;
use crate::inbox::snooze::Snoozes;
use crate::preferences::AllPreferences;
use crate::presence::acquaintances::Acquaintances;
use crate::sockets::connections::Connections;
use crate::telemetry::health::Migrations;
use crate::users::erasures::Erasures;
use crate::web_push::pushes::WebPushes;
use crate::web_push::subscriptions::Subscriptions;

/// A store that keeps every promise of the record.
pub trait RecordStore:
    Sends
    + Inbox
    + Snoozes
    + Deliveries
    + DeadLetters
    + History
    + Retention
    + Connections
    + Chats
    + Messages
    + Acquaintances
    + AllPreferences
    + Revocations
    + FastRecord
    + Subscriptions
    + WebPushes
    + Erasures
    + Epochs
    + Migrations
{
}

impl<T> RecordStore for T where
    T: Sends
        + Inbox
        + Snoozes
        + Deliveries
        + DeadLetters
        + History
        + Retention
        + Connections
        + Chats
        + Messages
        + Acquaintances
        + AllPreferences
        + AllPreferences
        + Revocations
        + FastRecord
        + Subscriptions
        + WebPushes
        + Subscriptions
        + WebPushes
        + Erasures
        + Epochs
        + Migrations
{
}

/// The promises of the record, each of which a test may replace on its own.
#[derive(Clone)]
pub struct Record {
    /// What callers have sent.
    pub sends: Arc<dyn Sends>,
    /// What users have received.
    pub inbox: Arc<dyn Inbox>,
    /// What users snooze.
    pub snoozes: Arc<dyn Snoozes>,
    /// What has yet to be materialised or pushed.
    pub deliveries: Arc<dyn Deliveries>,
    /// What cannot be processed.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What became of sends.
    pub history: Arc<dyn History>,
    /// What is too old to keep.
    pub retention: Arc<dyn Retention>,
    /// Open sockets, and the tickets that open them.
    pub connections: Arc<dyn Connections>,
    /// Chats and their members.
    pub chats: Arc<dyn Chats>,
    /// What was said in chats, and how far it was read.
    pub messages: Arc<dyn Messages>,
    /// Who may know of whose presence, and when users were last connected.
    pub acquaintances: Arc<dyn Acquaintances>,
    /// What rings for whom.
    pub preferences: Arc<dyn AllPreferences>,
    /// Whose tokens were revoked.
    pub revocations: Arc<dyn Revocations>,
    /// What decides on fast accepts, and takes what logs have.
    pub fast: Arc<dyn FastRecord>,
    /// The browsers that users are pushed to.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// What has yet to be sent by Web Push.
    pub web_pushes: Arc<dyn WebPushes>,
    /// Erasing users.
    pub erasures: Arc<dyn Erasures>,
    /// Which migrations the database has.
    pub migrations: Arc<dyn Migrations>,
}

impl Record {
    /// All promises kept by one store.
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        Self {
            sends: store.clone(),
            inbox: store.clone(),
            snoozes: store.clone(),
            deliveries: store.clone(),
            dead_letters: store.clone(),
            history: store.clone(),
            retention: store.clone(),
            connections: store.clone(),
            chats: store.clone(),
            messages: store.clone(),
            acquaintances: store.clone(),
            preferences: store.clone(),
            revocations: store.clone(),
            fast: store.clone(),
            subscriptions: store.clone(),
            web_pushes: store.clone(),
            erasures: store.clone(),
            migrations: store,
        }
    }
}
