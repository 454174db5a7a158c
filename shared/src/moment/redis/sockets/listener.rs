//! The connection on which a process hears what is published at one instance.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Msg, ProtocolVersion, RedisError, RedisResult};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{interval, timeout};

use crate::config::{RedisConfig, RedisInstance};
use crate::moment::redis::client::{Access, SetupError};
use crate::moment::redis::failure::is_refusal;
use crate::moment::redis::keys::Key;
use crate::protocol::Frame;
use crate::secrets::Renewal;
use crate::sockets::streams::MAX_WAITING;
use crate::telemetry::invocation::wait_for;
use crate::telemetry::waits::Place;

/// How long the answer to a subscription or a ping may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a silent connection is tested. A server that hangs closes nothing.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The connection on which this process listens, made with the first stream.
pub(crate) struct Listener {
    access: Access,
    connect_timeout: Duration,
    live: AsyncMutex<Option<Live>>,
}

/// A connection, and who hears what on it.
#[derive(Clone)]
struct Live {
    sink: PubSubSink,
    channels: Channels,
}

/// Who hears a channel. Empty for good once the connection has ended.
type Channels = Arc<ChannelMap>;
type ChannelMap = Mutex<Option<HashMap<String, mpsc::Sender<Frame>>>>;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client shows its password.
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn new(
        config: &RedisConfig,
        instance: &RedisInstance,
        renewal: Option<Renewal>,
    ) -> Result<Self, SetupError> {
        let access = Access::new(config, instance, ProtocolVersion::RESP2, renewal)?;
        Ok(Self { access, connect_timeout: config.connect_timeout, live: AsyncMutex::default() })
    }

    /// Listens to a channel from now on. `None` if the instance is unavailable.
    pub(super) async fn listen(&self, channel: &Key) -> Option<RedisListening> {
        let _waiting = wait_for(Place::Moment);
        let channel = channel.name().to_owned();
        // A sandbox that was thawed has a connection that ended long ago, which shows only now.
        for _ in 0..2 {
            let live = self.live().await?;
            let heard = live.channels.clone();
            let refused = match live.subscribe(&channel).await {
                Ok(listening) => return Some(listening),
                Err(refused) => refused,
            };
            end(&heard);
            // A server without a password that got one lets us in, and refuses what we ask.
            if refused.as_ref().is_some_and(is_refusal) {
                self.access.is_renewed().await;
            }
        }
        None
    }

    /// The present connection, or a new one.
    async fn live(&self) -> Option<Live> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|live| channels(&live.channels).is_some()) {
            return Some(live.clone());
        }
        let mut connected = self.connected().await?;
        let is_refused = connected.as_ref().is_err_and(is_refusal);
        if is_refused && self.access.is_renewed().await {
            connected = self.connected().await?;
        }
        let (sink, stream) = connected.ok()?.split();
        let new = Live { sink: sink.clone(), channels: Arc::new(Mutex::new(Some(HashMap::new()))) };
        // It ends with the connection or with those who may listen on it.
        tokio::spawn(hear(sink, stream, Arc::downgrade(&new.channels)));
        *live = Some(new.clone());
        Some(new)
    }

    /// A new connection; `None` if there is none in time.
    async fn connected(&self) -> Option<RedisResult<PubSub>> {
        let client = self.access.client();
        timeout(self.connect_timeout, client.get_async_pubsub()).await.ok()
    }
}

impl Live {
    /// Listens to a channel. The error is what the server answered; `None` if it did not.
    async fn subscribe(mut self, channel: &str) -> Result<RedisListening, Option<RedisError>> {
        let (sender, frames) = mpsc::channel(MAX_WAITING);
        // Before subscribing, so that the first frame already finds it.
        match channels(&self.channels).as_mut() {
            Some(heard) => drop(heard.insert(channel.to_owned(), sender)),
            None => return Err(None),
        }
        let listening = RedisListening { frames, channel: channel.to_owned(), live: self.clone() };
        match timeout(ANSWER_TIMEOUT, self.sink.subscribe(channel)).await {
            Ok(subscribed) => subscribed.map(|()| listening).map_err(Some),
            Err(_) => Err(None),
        }
    }
}

/// Passes frames on until the connection ends, or nothing can listen on it any more.
async fn hear(mut sink: PubSubSink, mut stream: PubSubStream, heard: Weak<ChannelMap>) {
    let mut ping = interval(PING_INTERVAL);
    loop {
        let message = tokio::select! {
            message = stream.next() => match message {
                Some(message) => Some(message),
                None => break,
            },
            _ = ping.tick() => None,
        };
        let Some(heard) = heard.upgrade() else { return };
        match message {
            Some(message) => pass_on(&heard, &message),
            None => {
                drop(heard);
                let answered = timeout(ANSWER_TIMEOUT, sink.ping::<redis::Value>());
                // Frames that come meanwhile wait in the stream.
                if !matches!(answered.await, Ok(Ok(_))) {
                    break;
                }
            }
        }
    }
    if let Some(heard) = heard.upgrade() {
        end(&heard);
    }
}

fn pass_on(heard: &ChannelMap, message: &Msg) {
    let mut channels = channels(heard);
    let Some(channels) = channels.as_mut() else { return };
    let Ok(frame) = message.get_payload::<String>() else { return };
    let channel = message.get_channel_name();
    // One that takes nothing is not waited for: it hears that its listening has ended.
    if channels.get(channel).is_some_and(|sender| sender.try_send(frame.into()).is_err()) {
        channels.remove(channel);
    }
}

/// Ends the listening of all that this connection served.
fn end(heard: &ChannelMap) {
    *channels(heard) = None;
}

fn channels(heard: &ChannelMap) -> MutexGuard<'_, Option<HashMap<String, mpsc::Sender<Frame>>>> {
    // A panic while the lock was held lost at worst a channel, whose stream then looks at the record.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears one channel at one instance.
pub(super) struct RedisListening {
    pub(super) frames: mpsc::Receiver<Frame>,
    channel: String,
    live: Live,
}

impl Drop for RedisListening {
    fn drop(&mut self) {
        if let Some(channels) = channels(&self.live.channels).as_mut() {
            channels.remove(&self.channel);
        }
        let (mut sink, channel) = (self.live.sink.clone(), std::mem::take(&mut self.channel));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(timeout(ANSWER_TIMEOUT, sink.unsubscribe(channel)).await) });
        }
    }
}
