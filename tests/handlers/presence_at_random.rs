//! Any order of opening, sending frames, closing, vanishing without a goodbye, drains that work or die, time, and a moment
//! that is emptied: whether a user is online is what the leases of its connections say, a change is told at most once, and no
//! user is online for longer than a lease without a socket.

use std::sync::Arc;
use std::time::Duration;

use harness::{TestApp, event, redis_server, socket_event};
use proptest::prelude::*;
use serde_json::json;
use shared::chat::Kind;
use shared::chat::chats::{Change, NewChat};
use shared::clock::Clock;
use shared::delivery::queue::CLAIM_MS;
use shared::ids::{ChatId, UserId};
use shared::moment::MomentStore;
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::presence::GRACE_MS;
use shared::presence::telling::ask;

use crate::at_random::{Check, for_all, same};
use crate::presence::opens;

/// How many connections alice may have at once.
const TABS: usize = 3;
const MAX_REGISTERED: usize = 20;

#[derive(Debug, Clone)]
enum Act {
    Open(usize),
    Frame(usize),
    /// With `$disconnect`.
    Close(usize),
    /// Without it: no event tells of it.
    Vanish(usize),
    Drain,
    /// A drain that ends after it has claimed what is due.
    DyingDrain,
    /// Milliseconds pass.
    Pass(i64),
    /// Redis is emptied.
    Empty,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => (0..TABS).prop_map(Act::Open),
        4 => (0..TABS).prop_map(Act::Frame),
        4 => (0..TABS).prop_map(Act::Close),
        2 => (0..TABS).prop_map(Act::Vanish),
        5 => Just(Act::Drain),
        1 => Just(Act::DyingDrain),
        5 => (1..20_000_i64).prop_map(Act::Pass),
        1 => (20_000..320_000_i64).prop_map(Act::Pass),
        1 => Just(Act::Empty),
    ];
    prop::collection::vec(act, 20..60)
}

/// A connection in the model.
#[derive(Debug, Clone)]
struct Tab {
    connection: String,
    renewed_ms: i64,
    /// When its lease ends.
    ends_ms: i64,
    is_open: bool,
}

struct Presence {
    test: TestApp,
    new_moment: fn() -> Arc<dyn MomentStore>,
    /// Those that the moment knows, or will learn of with their next frame.
    tabs: Vec<Option<Tab>>,
    /// The leases of connections that were replaced by others of the same tab.
    former: Vec<i64>,
    /// Whether bob was last told that alice is online.
    told: bool,
    /// When alice last had an open socket.
    open_ms: i64,
    acts: usize,
    /// How many of alice's connections the record has.
    registered: usize,
}

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

impl Presence {
    async fn new(new_moment: fn() -> Arc<dyn MomentStore>) -> Self {
        let mut test = TestApp::new().await;
        test.uses_moment(new_moment());
        let (bob, others) = (UserId::new("bob").unwrap(), [alice()]);
        let id = ChatId::of_pair(&bob, &others[0]);
        let new = NewChat { id, kind: Kind::Direct, title: None, creator: &bob, others: &others, fingerprint: [7; 32] };
        test.app.record.chats.create(&new, test.app.clock.at()).await.unwrap();
        let accepted = test.app.record.chats.change(id, &others[0], &Change::Accept, test.app.clock.at()).await;
        accepted.unwrap().unwrap();
        test.connect("bob", &["bob's phone"]).await;
        let open_ms = test.clock.now_ms();
        Self {
            test,
            new_moment,
            tabs: vec![None; TABS],
            former: Vec::new(),
            told: false,
            open_ms,
            acts: 0,
            registered: 0,
        }
    }

    fn last_ms(&self) -> i64 {
        let leases = self.tabs.iter().flatten().map(|tab| tab.ends_ms).chain(self.former.iter().copied());
        leases.max().unwrap_or(0)
    }

    fn is_online(&self) -> bool {
        self.last_ms() > self.test.clock.now_ms()
    }

    async fn perform(&mut self, act: &Act) -> Check {
        self.acts += 1;
        let (lease_ms, was_online) = (self.test.app.config.presence_lease_ms, self.is_online());
        let now_ms = self.test.clock.now_ms();
        let mut comes_online = false;
        match act {
            // One more would displace the oldest.
            Act::Open(_) if self.registered == MAX_REGISTERED => {}
            Act::Open(n) => {
                self.registered += 1;
                let connection = format!("tab {n} {}", self.acts);
                opens(&self.test, "alice", &connection).await;
                let tab = Tab { connection, renewed_ms: now_ms, ends_ms: now_ms + lease_ms, is_open: true };
                // The one before stays open, or vanishes: nothing tells of it.
                self.former.extend(self.tabs[*n].replace(tab).map(|former| former.ends_ms));
                comes_online = !was_online;
            }
            Act::Frame(n) => {
                if let Some(tab) = self.tabs[*n].as_mut().filter(|tab| tab.is_open) {
                    let mut frame = event("message");
                    frame["requestContext"]["connectionId"] = tab.connection.as_str().into();
                    frame["body"] = json!({"action": "ping"}).to_string().into();
                    message::handle(&self.test.app, socket_event(frame)).await;
                    // Not every frame renews the lease, only one each fifth of it.
                    if now_ms >= tab.renewed_ms + lease_ms / 5 {
                        (tab.renewed_ms, tab.ends_ms) = (now_ms, now_ms + lease_ms);
                        comes_online = !was_online;
                    }
                }
            }
            Act::Close(n) => {
                if let Some(tab) = self.tabs[*n].as_mut().filter(|tab| tab.is_open) {
                    let mut closing = event("disconnect");
                    closing["requestContext"]["connectionId"] = tab.connection.as_str().into();
                    disconnect::handle(&self.test.app, socket_event(closing)).await;
                    tab.ends_ms = tab.ends_ms.min(now_ms + GRACE_MS);
                    tab.is_open = false;
                    self.registered -= 1;
                }
            }
            Act::Vanish(n) => {
                if let Some(tab) = self.tabs[*n].take() {
                    self.former.push(tab.ends_ms);
                }
            }
            Act::Drain => {
                let drained = drain::handle(&self.test.app, now_ms + 10_000).await;
                same("a failed drain", drained.failed, false)?;
            }
            Act::DyingDrain => {
                let _ = self.test.app.moment.queue.claim(64, self.test.app.clock.at()).await;
            }
            Act::Pass(ms) => self.test.clock.advance(Duration::from_millis(ms.unsigned_abs())),
            Act::Empty => {
                self.test.uses_moment((self.new_moment)());
                self.former.clear();
                self.tabs.iter_mut().flatten().for_each(|tab| tab.ends_ms = 0);
                // What a drain would have told is lost with it.
                self.told = false;
            }
        }
        self.hear(comes_online)?;
        self.compare().await
    }

    /// Takes what bob was told since the last act.
    fn hear(&mut self, comes_online: bool) -> Check {
        let told: Vec<bool> = self
            .test
            .push
            .taken()
            .iter()
            .filter(|(connection, frame)| connection == "bob's phone" && frame["type"] == "presence")
            .map(|(_, frame)| frame["users"][0]["online"] == true)
            .collect();
        if comes_online {
            self.told = true;
            return same("what is told when alice comes online", told, vec![true]);
        }
        if told.is_empty() {
            return Ok(());
        }
        same("what is told", told, vec![false])?;
        same("whether alice is online when bob is told that she is not", self.is_online(), false)?;
        same("whether bob thought that she was", std::mem::replace(&mut self.told, false), true)
    }

    async fn compare(&mut self) -> Check {
        let now_ms = self.test.clock.now_ms();
        if self.tabs.iter().flatten().any(|tab| tab.is_open) {
            self.open_ms = now_ms;
        }
        let bob = UserId::new("bob").unwrap();
        let asked = ask(&self.test.app, Some(&bob), &[alice()]).await.unwrap();
        let online = asked[0].online.ok_or("the moment is away")?;
        same("online", online, self.is_online())?;
        let is_possible = now_ms < self.open_ms + self.test.app.config.presence_lease_ms;
        same("online for longer than a lease without a socket", online && !is_possible, false)
    }

    /// Those that vanished lapse, the others close, and the drain works: if bob thought that alice was online, he is told that
    /// she is not.
    async fn finish(&mut self) -> Check {
        for n in 0..TABS {
            self.perform(&Act::Close(n)).await?;
        }
        self.perform(&Act::Pass(self.test.app.config.presence_lease_ms)).await?;
        self.perform(&Act::Open(0)).await?;
        self.perform(&Act::Close(0)).await?;
        for _ in 0..3 {
            // Long enough for leases of what vanished, and for the claims of drains that died.
            self.perform(&Act::Pass(CLAIM_MS.max(self.test.app.config.presence_lease_ms))).await?;
            self.perform(&Act::Drain).await?;
        }
        same("whether bob still thinks that alice is online", self.told, false)
    }
}

fn check(new_moment: fn() -> Arc<dyn MomentStore>) {
    for_all(acts(), async |acts: Vec<Act>| {
        let mut presence = Presence::new(new_moment).await;
        for act in &acts {
            presence.perform(act).await.map_err(|why| format!("{act:?}: {why}"))?;
        }
        presence.finish().await
    });
}

#[test]
fn any_order_of_acts_in_memory_leaves_what_the_leases_say() {
    check(|| Arc::new(MemoryMoment::default()));
}

#[test]
fn any_order_of_acts_on_redis_leaves_what_the_leases_say() {
    check(|| {
        let config = redis_server::own_prefix();
        Arc::new(RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap())
    });
}
