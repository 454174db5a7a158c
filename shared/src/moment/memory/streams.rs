//! Event streams in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::ids::ConnectionId;
use crate::protocol::Frame;
use crate::sockets::push::Outcome;
use crate::sockets::streams::{Listening, MAX_WAITING};

/// Who listens to which stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<ConnectionId, mpsc::Sender<Frame>>>>);

impl Listeners {
    pub(super) fn publish(&self, stream: &ConnectionId, frame: &Frame) -> Outcome {
        let mut listeners = self.lock();
        match listeners.get(stream).map(|sender| sender.try_send(frame.clone())) {
            Some(Ok(())) => Outcome::Offered,
            // It hears that its listening has ended, and looks at the record.
            Some(Err(_)) => {
                listeners.remove(stream);
                Outcome::Offered
            }
            None => Outcome::Gone,
        }
    }

    pub(super) fn listen(&self, stream: &ConnectionId) -> Box<dyn Listening> {
        let (sender, frames) = mpsc::channel(MAX_WAITING);
        self.lock().insert(stream.clone(), sender);
        Box::new(MemoryListening { frames, stream: stream.clone(), listeners: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, mpsc::Sender<Frame>>> {
        // A panic while the lock was held lost at worst a listener, which then looks at the record.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryListening {
    frames: mpsc::Receiver<Frame>,
    stream: ConnectionId,
    listeners: Listeners,
}

#[async_trait]
impl Listening for MemoryListening {
    async fn next(&mut self) -> Option<Frame> {
        self.frames.recv().await
    }
}

impl Drop for MemoryListening {
    fn drop(&mut self) {
        self.listeners.lock().remove(&self.stream);
    }
}
