//! Several instances. A frame is published at one of them, and which one that is depends on which are away; so a stream listens at
//! all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{OptionFuture, join_all, select_all};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::listener::{Listener, RedisListening};
use crate::config::RedisConfig;
use crate::moment::redis::client::SetupError;
use crate::moment::redis::keys::Key;
use crate::protocol::Frame;
use crate::secrets::Renewal;
use crate::sockets::streams::Listening;

/// How often listening is tried at an instance that was away. Sooner than anything is published there again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long a new stream waits for each of several instances.
const HASTE: Duration = Duration::from_millis(500);

/// The listeners at all instances.
#[derive(Debug)]
pub(crate) struct Listeners(Arc<[Listener]>);

impl Listeners {
    pub(super) fn new(config: &RedisConfig, renewal: Option<&Renewal>) -> Result<Self, SetupError> {
        let listeners = config.instances.iter().map(|instance| Listener::new(config, instance, renewal.cloned()));
        Ok(Self(listeners.collect::<Result<_, SetupError>>()?))
    }

    /// Listens to a channel at every instance from now on. `None` if all are unavailable.
    pub(super) async fn listen(&self, channel: &Key) -> Option<Box<dyn Listening>> {
        let has_others = self.0.len() > 1;
        let parts = self.0.iter().map(|listener| async move {
            let listening = listener.listen(channel);
            // One that hangs must not keep the stream from hearing the others.
            if has_others { timeout(HASTE, listening).await.ok().flatten() } else { listening.await }
        });
        let parts = join_all(parts).await;
        parts.iter().any(Option::is_some).then(|| {
            let (listeners, channel) = (Arc::clone(&self.0), channel.clone());
            let next_try = Instant::now() + RETRY_INTERVAL;
            Box::new(Everywhere { parts, listeners, channel, next_try, trying: None }) as Box<dyn Listening>
        })
    }
}

/// Hears one channel at every instance that is there, and goes on to try the others.
struct Everywhere {
    /// By the number of the instance; `None` while it is away.
    parts: Vec<Option<RedisListening>>,
    listeners: Arc<[Listener]>,
    channel: Key,
    next_try: Instant,
    /// Tries those that are away while the others are heard.
    trying: Option<JoinHandle<Tried>>,
}

/// Instances that were tried, and the listening at those that are there again.
type Tried = Vec<(usize, Option<RedisListening>)>;

#[async_trait]
impl Listening for Everywhere {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let is_any_to_try = self.parts.iter().any(Option::is_none) && self.trying.is_none();
            let heard = self.parts.iter_mut().flatten().map(|part| Box::pin(part.frames.recv()));
            let trying = OptionFuture::from(self.trying.as_mut());
            let tried = tokio::select! {
                biased;
                // Where one ends, frames may have been missed.
                (frame, ..) = select_all(heard) => return frame,
                Some(tried) = trying => Some(tried),
                () = sleep_until(self.next_try), if is_any_to_try => None,
            };
            match tried {
                None => self.try_others(),
                Some(tried) => {
                    self.trying = None;
                    self.next_try = Instant::now() + RETRY_INTERVAL;
                    for (instance, listening) in tried.into_iter().flatten() {
                        self.parts[instance] = listening;
                    }
                }
            }
        }
    }
}

impl Everywhere {
    /// Begins to try those that are away.
    fn try_others(&mut self) {
        let away: Vec<usize> = (0..self.parts.len()).filter(|instance| self.parts[*instance].is_none()).collect();
        let (listeners, channel) = (Arc::clone(&self.listeners), self.channel.clone());
        self.trying = Some(tokio::spawn(async move {
            let (listeners, channel) = (&listeners, &channel);
            let listen = |instance: usize| async move { (instance, listeners[instance].listen(channel).await) };
            join_all(away.into_iter().map(listen)).await
        }));
    }
}
