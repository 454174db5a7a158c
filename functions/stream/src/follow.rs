//! One open stream: what it sends next.

use std::borrow::Cow;
use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use shared::app::App;
use shared::cursor::Cursor;
use shared::error::{Error, StoreError};
use shared::ids::{ConnectionId, UserId};
use shared::inbox::bounds::Bounds;
use shared::inbox::{ChangeKind, Changes, CurrentState, sync};
use shared::presence::telling::stay_online;
use shared::protocol::{self, Event, ReplyFrame};
use shared::sockets::connections::Connection;
use shared::sockets::outgoing;
use shared::sockets::streams::Listening;

use crate::text;

/// The most changes that are told one by one. More are a `resync`.
const MAX_CHANGES: Bounds = Bounds::of_answer(500);
/// How often a silent stream sends a comment, in milliseconds.
const COMMENT_EVERY_MS: i64 = 15_000;
/// How often a stream that hears nothing looks at the record, in milliseconds.
const LOOK_EVERY_MS: i64 = 2_000;

/// An open stream.
pub(crate) struct Follower {
    app: App,
    user: UserId,
    id: ConnectionId,
    /// Hears what is pushed; `None` while the moment is away.
    listening: Option<Box<dyn Listening>>,
    /// The client's position, once everything in `ready` has been sent.
    position: Option<Cursor>,
    /// What is sent next.
    ready: VecDeque<String>,
    /// When its token expires, in milliseconds since 1970.
    token_expires_at_ms: i64,
    /// When it was registered, in milliseconds since 1970.
    connected_at_ms: i64,
    ends_ms: i64,
    /// Ready once the process is about to stop.
    stopped: BoxFuture<'static, ()>,
    next_comment_ms: i64,
    next_pong_ms: i64,
    /// When to look at the record; never, as long as what is pushed is heard and followed.
    next_look_ms: i64,
    phase: Phase,
}

/// Whether more follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It does.
    Open,
    /// Only what is ready.
    Ending,
    /// Nothing, and the stream is no longer registered.
    Closed,
}

/// What every pushed frame has, as far as it matters here.
#[derive(Deserialize)]
struct Pushed<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    prev: Option<Cow<'a, str>>,
}

impl Follower {
    pub(crate) fn new(
        app: App,
        user: UserId,
        id: ConnectionId,
        listening: Option<Box<dyn Listening>>,
        ends_ms: i64,
        stopped: BoxFuture<'static, ()>,
    ) -> Self {
        let now_ms = app.clock.now_ms();
        let next_look_ms = if listening.is_some() { i64::MAX } else { now_ms + LOOK_EVERY_MS };
        Self {
            user,
            id,
            listening,
            position: None,
            ready: VecDeque::new(),
            token_expires_at_ms: i64::MAX,
            connected_at_ms: now_ms,
            ends_ms,
            stopped,
            next_comment_ms: now_ms + COMMENT_EVERY_MS,
            next_pong_ms: i64::MAX,
            next_look_ms,
            phase: Phase::Open,
            app,
        }
    }

    /// Reads what the client missed after `since`; without it the stream begins at the head.
    pub(crate) async fn begin(&mut self, since: Option<Cursor>) -> Result<(), Error> {
        self.position = since;
        // The first byte, even if nothing was missed.
        self.ready.push_back(text::COMMENT.to_owned());
        self.look_and_pong(since).await
    }

    /// The next piece of text, once there is one; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                self.next_comment_ms = self.app.clock.now_ms() + COMMENT_EVERY_MS;
                return Some(text);
            }
            match self.phase {
                Phase::Open => self.follow().await,
                Phase::Ending => {
                    self.close().await;
                    return None;
                }
                Phase::Closed => return None,
            }
        }
    }

    /// Unregisters the stream. Its user goes offline unless there is another connection.
    pub(crate) async fn close(&mut self) {
        self.phase = Phase::Closed;
        self.listening = None;
        if let Err(error) = outgoing::forget(&self.app, std::slice::from_ref(&self.id)).await {
            // The next push to it finds no listener.
            tracing::warn!(%error, "an event stream that ended could not be forgotten");
        }
    }

    /// Waits for a frame or for the next thing to do, and does it.
    async fn follow(&mut self) {
        let due_ms = self.due_ms();
        let (clock, listening) = (self.app.clock.clone(), &mut self.listening);
        let heard = async {
            match listening {
                Some(listening) => listening.next().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            biased;
            () = &mut self.stopped => return self.end(),
            () = clock.sleep_until(due_ms) => None,
            frame = heard => Some(frame),
        };
        let done = match frame {
            None => self.act().await,
            Some(Some(frame)) => self.forward(&frame).await,
            // Frames may have been missed since.
            Some(None) => {
                self.listening = None;
                self.next_look_ms = self.app.clock.now_ms();
                Ok(())
            }
        };
        if let Err(error) = done {
            // The stream stays open and tries again; the client shows what it has.
            tracing::warn!(%error, "an event stream could not look at the record");
            self.next_look_ms = self.app.clock.now_ms() + LOOK_EVERY_MS;
            self.app.report_error().await;
        }
    }

    fn due_ms(&self) -> i64 {
        let next_ms = self.next_comment_ms.min(self.next_pong_ms).min(self.next_look_ms);
        next_ms.min(self.token_expires_at_ms).min(self.ends_ms)
    }

    /// Does what is due.
    async fn act(&mut self) -> Result<(), Error> {
        let now_ms = self.app.clock.now_ms();
        if now_ms >= self.token_expires_at_ms {
            self.send(&protocol::frame(&ReplyFrame::error(None, &Error::TokenExpired)), None);
            self.phase = Phase::Ending;
        } else if now_ms >= self.ends_ms {
            self.end();
        } else if now_ms >= self.next_pong_ms {
            self.look_and_pong(None).await?;
        } else if now_ms >= self.next_look_ms {
            if self.listening.is_none() {
                // First, so that nothing falls in between.
                self.listening = self.app.moment.streams.listen(&self.id).await;
            }
            self.next_look_ms = if self.listening.is_some() { i64::MAX } else { now_ms + LOOK_EVERY_MS };
            // Not only the inbox: messages and changes of chats may have been missed too.
            self.look_and_pong(None).await?;
        }
        if now_ms >= self.next_comment_ms && self.phase == Phase::Open {
            self.ready.push_back(text::COMMENT.to_owned());
            stay_online(&self.app, &self.connection()).await;
        }
        Ok(())
    }

    fn connection(&self) -> Connection {
        Connection {
            id: self.id.clone(),
            user: self.user.clone(),
            connected_at_ms: self.connected_at_ms,
            token_expires_at_ms: self.token_expires_at_ms,
        }
    }

    /// Sends a frame that was pushed, unless the client has it already. If others must come before it, they are read.
    async fn forward(&mut self, frame: &str) -> Result<(), Error> {
        let Ok(pushed) = serde_json::from_str::<Pushed<'_>>(frame) else { return Ok(()) };
        let cursor = |text: Option<Cow<'_, str>>| text.and_then(|text| text.parse::<Cursor>().ok());
        match (&*pushed.r#type, cursor(pushed.cursor), cursor(pushed.prev), self.position) {
            ("reconnect", ..) => self.end(),
            ("error", ..) => {
                self.send(frame, None);
                self.phase = Phase::Ending;
            }
            ("resync", ..) => self.look().await?,
            (_, Some(after), Some(before), Some(own)) if after.epoch == own.epoch => {
                if before.offset <= own.offset && own.offset < after.offset {
                    self.send(frame, Some(after));
                    self.position = Some(after);
                } else if own.offset < before.offset {
                    self.look().await?;
                }
            }
            (_, Some(_), ..) => self.look().await?,
            _ => self.send(frame, None),
        }
        Ok(())
    }

    fn send(&mut self, json: &str, id: Option<Cursor>) {
        self.ready.push_back(text::event(json, id));
    }

    /// Tells the client to come back.
    fn end(&mut self) {
        self.send(&protocol::frame(&Event::Reconnect), None);
        self.phase = Phase::Ending;
    }

    /// Tells where the inbox stands, after everything up to there. `shown`: up to where the client says that it has shown
    /// everything, which acknowledges it.
    async fn look_and_pong(&mut self, shown: Option<Cursor>) -> Result<(), Error> {
        let ping_every_ms = i64::try_from(self.app.config.ping_every_ms).unwrap_or(i64::MAX);
        self.next_pong_ms = self.app.clock.now_ms().saturating_add(ping_every_ms);
        let (standing, connection) =
            tokio::join!(sync::standing(&self.app, &self.user), self.app.record.connections.find(&self.id));
        let (position, tag) = standing?;
        if !self.is_still(connection)? {
            return Ok(());
        }
        let head = position.cursor();
        if let Some(shown) = shown.filter(|shown| shown.epoch == head.epoch && shown.offset <= head.offset) {
            sync::settle(&self.app, &self.user, &position, shown).await?;
        }
        if self.position.is_some_and(|own| own != head) {
            let changes = self.app.record.inbox.changes(&self.user, self.position, MAX_CHANGES, self.app.clock.at());
            let changes = changes.await?;
            self.tell(changes).await?;
        } else {
            self.position = Some(head);
        }
        if self.phase == Phase::Open {
            let etag = tag.to_string();
            self.send(&protocol::frame(&ReplyFrame::Pong { reference: None, cursor: head, etag: &etag }), None);
        }
        Ok(())
    }

    /// Whether the stream is still registered and its token valid. If not, it ends.
    fn is_still(&mut self, connection: Result<Option<Connection>, StoreError>) -> Result<bool, Error> {
        match connection? {
            Some(connection) => {
                self.token_expires_at_ms = connection.token_expires_at_ms;
                self.connected_at_ms = connection.connected_at_ms;
                Ok(true)
            }
            None => {
                self.end();
                Ok(false)
            }
        }
    }

    /// Sends everything that changed after the client's position.
    async fn look(&mut self) -> Result<(), Error> {
        let (app, at) = (&self.app, self.app.clock.at());
        let (changes, connection) = tokio::join!(
            app.record.inbox.changes(&self.user, self.position, MAX_CHANGES, at),
            app.record.connections.find(&self.id)
        );
        let changes = changes?;
        if self.is_still(connection)? { self.tell(changes).await } else { Ok(()) }
    }

    /// Sends what was read after the client's position; `None` if that is not known.
    async fn tell(&mut self, changes: Option<Changes>) -> Result<(), Error> {
        match changes {
            Some(changes) if changes.complete => self.send_changes(changes),
            // Too many, or the position is unknown: the client syncs, and the stream goes on from the head.
            Some(_) | None => {
                let head = self.app.record.inbox.position(&self.user, self.app.clock.at()).await?.cursor();
                self.send(&protocol::frame(&Event::Resync), None);
                self.position = Some(head);
            }
        }
        Ok(())
    }

    /// Sends changes in their order, each with the cursor of the one before.
    fn send_changes(&mut self, changes: Changes) {
        let Changes { changes, position, .. } = changes;
        let mut prev = self.position.unwrap_or(position.cursor_at(0));
        for change in &changes {
            let cursor = position.cursor_at(change.version());
            let unread_count = position.unread;
            let event = match change {
                CurrentState::Present { notification, .. } => {
                    let silent = notification.silent.then_some(true);
                    Event::Notification { cursor, prev, notification, unread_count, replaces: &[], silent }
                }
                CurrentState::Deleted { id, .. } => Event::Changed {
                    cursor,
                    prev,
                    ids: std::slice::from_ref(id),
                    change: ChangeKind::Deleted,
                    unread_count,
                },
            };
            self.ready.push_back(text::event(&protocol::frame(&event), Some(cursor)));
            prev = cursor;
        }
        self.position = Some(position.cursor());
    }
}

/// A stream whose client or gateway left is dropped unfinished, and forgotten then.
impl Drop for Follower {
    fn drop(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        let (app, id) = (self.app.clone(), self.id.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(outgoing::forget(&app, &[id]).await) });
        }
    }
}
