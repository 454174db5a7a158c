//! Event streams in Redis: a channel for each, and one connection to each instance, on which this process listens to all that it
//! holds open. A frame is published at one instance, and which one that is depends on which are away; so it listens at all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::{OptionFuture, join_all, select_all};
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, Msg};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::ids::ConnectionId;
use crate::moment::redis::keys::{Key, Keys};
use crate::moment::redis::router::{Answer, read};
use crate::moment::redis::steps::Step;
use crate::moment::redis::telemetry::is_forbidden;
use crate::protocol::Frame;
use crate::sockets::push::Outcome;
use crate::sockets::streams::{Listening, MAX_WAITING};

/// How long the answer to a subscription or a ping may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a silent connection is tested. A server that hangs closes nothing.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How often listening is tried at an instance that was away. Sooner than anything is published there again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long a new stream waits for each of several instances.
const HASTE: Duration = Duration::from_millis(500);

/// Publishes a frame to its stream.
pub(crate) fn publish(keys: &Keys, stream: &ConnectionId, frame: &Frame) -> Step {
    // A channel that the access list forbids says nothing about the server.
    Step::command("PUBLISH", keys.stream(stream)).arg(&**frame).tolerating(is_forbidden)
}

pub(crate) fn read_published(answer: Answer) -> Outcome {
    match read::<u64>(answer) {
        Some(0) => Outcome::Gone,
        Some(_) => Outcome::Offered,
        None => Outcome::Failed,
    }
}

/// The connection on which this process listens, made with the first stream.
pub(crate) struct Listener {
    client: Client,
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
type Channels = Arc<Mutex<Option<HashMap<String, mpsc::Sender<Frame>>>>>;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client shows its password.
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn new(client: Client, connect_timeout: Duration) -> Self {
        Self { client, connect_timeout, live: AsyncMutex::default() }
    }

    /// Listens to a channel from now on. `None` if the instance is unavailable.
    async fn listen(&self, channel: &Key) -> Option<RedisListening> {
        let channel = channel.name().to_owned();
        // A sandbox that was thawed has a connection that ended long ago, which shows only now.
        for _ in 0..2 {
            let live = self.live().await?;
            let heard = live.channels.clone();
            if let Some(listening) = live.subscribe(&channel).await {
                return Some(listening);
            }
            end(&heard);
        }
        None
    }

    /// The present connection, or a new one.
    async fn live(&self) -> Option<Live> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|live| channels(&live.channels).is_some()) {
            return Some(live.clone());
        }
        let connecting = timeout(self.connect_timeout, self.client.get_async_pubsub());
        let (sink, stream) = connecting.await.ok()?.ok()?.split();
        let new = Live { sink: sink.clone(), channels: Arc::new(Mutex::new(Some(HashMap::new()))) };
        // It ends with the connection, and waits while no stream is open: nothing depends on it then.
        tokio::spawn(hear(sink, stream, new.channels.clone()));
        *live = Some(new.clone());
        Some(new)
    }
}

impl Live {
    async fn subscribe(mut self, channel: &str) -> Option<RedisListening> {
        let (sender, frames) = mpsc::channel(MAX_WAITING);
        // Before subscribing, so that the first frame already finds it.
        channels(&self.channels).as_mut()?.insert(channel.to_owned(), sender);
        let listening = RedisListening { frames, channel: channel.to_owned(), live: self.clone() };
        let subscribed = timeout(ANSWER_TIMEOUT, self.sink.subscribe(channel)).await;
        matches!(subscribed, Ok(Ok(()))).then_some(listening)
    }
}

/// Passes frames on until the connection ends.
async fn hear(mut sink: PubSubSink, mut stream: PubSubStream, heard: Channels) {
    let mut ping = interval(PING_INTERVAL);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => pass_on(&heard, &message),
                None => break,
            },
            _ = ping.tick() => {
                let answered = timeout(ANSWER_TIMEOUT, sink.ping::<redis::Value>());
                // Frames that come meanwhile wait in the stream.
                if !matches!(answered.await, Ok(Ok(_))) {
                    break;
                }
            }
        }
    }
    end(&heard);
}

fn pass_on(heard: &Channels, message: &Msg) {
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
fn end(heard: &Channels) {
    *channels(heard) = None;
}

fn channels(heard: &Channels) -> MutexGuard<'_, Option<HashMap<String, mpsc::Sender<Frame>>>> {
    // A panic while the lock was held lost at worst a channel, whose stream then looks at the record.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The listeners at all instances.
#[derive(Debug)]
pub(crate) struct Listeners(Arc<[Listener]>);

impl Listeners {
    pub(crate) fn new(listeners: Vec<Listener>) -> Self {
        Self(listeners.into())
    }

    /// Listens to a channel at every instance from now on. `None` if all are unavailable.
    pub(crate) async fn listen(&self, channel: &Key) -> Option<Box<dyn Listening>> {
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

/// Hears one channel at one instance.
struct RedisListening {
    frames: mpsc::Receiver<Frame>,
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
