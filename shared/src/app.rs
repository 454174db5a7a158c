//! What a function holds between calls: its configuration, its clock, and whoever keeps the promises.

use std::sync::Arc;

use crate::auth::Tokens;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::dead_letters::DeadLetters;
use crate::delivery::deliveries::Deliveries;
use crate::delivery::queue::{Entry, Queue};
use crate::delivery::wake::Wake;
use crate::inbox::Inbox;
use crate::inbox::history::History;
use crate::inbox::retention::Retention;
use crate::limits::Limits;
use crate::sockets::connections::Connections;
use crate::sockets::push::Push;
use crate::telemetry::health::Vitals;
use crate::telemetry::{Counts, Noted, Notes};

/// Built once a process, handed to every call. Clones share everything.
#[derive(Clone)]
pub struct App {
    /// What the environment said.
    pub config: Arc<Config>,
    /// The present time.
    pub clock: Clock,
    /// Who verifies tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// The record's inboxes.
    pub inbox: Arc<dyn Inbox>,
    /// The record's unfinished work.
    pub deliveries: Arc<dyn Deliveries>,
    /// What the record has set aside.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// The record's account of what became of sends.
    pub history: Arc<dyn History>,
    /// The record's way to let go of what is too old.
    pub retention: Arc<dyn Retention>,
    /// The record's sockets and tickets.
    pub connections: Arc<dyn Connections>,
    /// The moment's budgets.
    pub limits: Arc<dyn Limits>,
    /// The moment's notes of what happens.
    pub notes: Arc<dyn Notes>,
    /// The moment's work that is left.
    pub queue: Arc<dyn Queue>,
    /// How the moment is.
    pub moment: Arc<dyn Vitals>,
    /// The way to the sockets.
    pub push: Arc<dyn Push>,
    /// The way to the drain. Without one its schedule, each minute, is soon enough.
    pub wake: Option<Arc<dyn Wake>>,
}

/// Who keeps the promises of the record: one store, all of them.
pub trait Record: Inbox + Deliveries + DeadLetters + Connections + History + Retention {}

impl<T: Inbox + Deliveries + DeadLetters + Connections + History + Retention> Record for T {}

/// Who keeps the promises of the moment: one store, all of them.
pub trait Moment: Limits + Notes + Queue + Vitals {}

impl<T: Limits + Notes + Queue + Vitals> Moment for T {}

impl App {
    /// An app on these stores, by the machine's clock and with nobody to wake.
    pub fn new(config: Config, record: Arc<dyn Record>, moment: Arc<dyn Moment>, push: Arc<dyn Push>) -> Self {
        Self {
            tokens: Tokens::new(&config).map(Arc::new),
            config: Arc::new(config),
            clock: Clock::system(),
            inbox: record.clone(),
            deliveries: record.clone(),
            dead_letters: record.clone(),
            history: record.clone(),
            retention: record.clone(),
            connections: record,
            limits: moment.clone(),
            notes: moment.clone(),
            queue: moment.clone(),
            moment,
            push,
            wake: None,
        }
    }

    /// Leaves work to the drain, and wakes it where none is awake: also without entries, for what only the record knows.
    /// An entry that the queue does not take comes back from the record.
    pub async fn leave(&self, entries: &[Entry]) {
        let is_awake = self.queue.add(entries, self.clock.at()).await.drain_is_awake;
        if is_awake != Some(true)
            && let Some(wake) = &self.wake
        {
            wake.wake_drain(is_awake == Some(false)).await;
        }
    }

    /// Counts an answer that was a fault of ours.
    pub async fn note_error(&self) {
        let counts = Counts { errors: 1, ..Counts::default() };
        self.notes.note(&Noted { counts, ..Noted::default() }, self.clock.at()).await;
    }
}
