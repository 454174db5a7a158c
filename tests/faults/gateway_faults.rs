//! API Gateway reports live sockets as gone, throttles, fails, reports success for frames that it drops, and
//! duplicates, reorders and loses events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::device::{Device, HEARTBEAT, Transport};
use crate::management_api::Behaviour;
use crate::report::percentile;
use crate::testbed::{PRESENCE_LEASE, Testbed, pause};

/// The age in seconds at which a connection that API Gateway calls gone is believed to be gone, and a little more.
const TRUST_GONE_AFTER_S: f64 = 11.0;
/// The longest time until a drain on a busy machine pushes that a user went offline.
const TELLING: Duration = Duration::from_secs(15);
/// The number of sockets in the record. A stream lasts longer than its client, as on Lambda.
const SOCKETS: &str = "SELECT count(*) FROM connections WHERE NOT starts_with(id, 'stream/')";

/// F42: 410 for live sockets. Their connections are removed; the devices find out at the next ping and reconnect.
pub(crate) async fn gone(testbed: &mut Testbed) {
    testbed.run_for(TRUST_GONE_AFTER_S).await;
    testbed.management.set_behaviour(Behaviour::Gone(0.3));
    testbed.run_for(4.0).await;
    testbed.end_fault();
    require_faulted_posts(testbed);
    let connects: usize = testbed.devices.iter().map(|device| device.seen.lock().unwrap().connects).sum();
    testbed.require(connects > testbed.devices.len(), "no connection was removed");
    require_registry_matches(testbed, 8.0).await;
}

/// F43: 410 for a socket whose `$connect` has not returned yet. The connection stays registered.
pub(crate) async fn gone_when_new(testbed: &mut Testbed) {
    testbed.management.set_behaviour(Behaviour::GoneWhenNew(Duration::from_millis(600)));
    for round in 0..6 {
        testbed.run_for(1.2).await;
        let device = round % testbed.devices.len();
        testbed.devices[device].cut_off();
    }
    testbed.run_for(1.5).await;
    testbed.end_fault();
    require_faulted_posts(testbed);
    require_registry_matches(testbed, 5.0).await;
}

/// F44: 429 for half of all frames, then for all. Refused frames are retried with growing backoff.
pub(crate) async fn throttled(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    testbed.management.set_behaviour(Behaviour::Throttled(0.5));
    testbed.run_for(5.0).await;
    testbed.management.set_behaviour(Behaviour::Throttled(1.0));
    testbed.run_for(20.0).await;
    testbed.end_fault();
    require_faulted_posts(testbed);
    let (posts, most) = (testbed.management.posts(), testbed.management.max_posts_of_a_frame());
    testbed.note(format!("{posts} pushes, at most {most} of one frame to one connection"));
    // The SDK posts twice in each attempt; there are attempts at once, after 5 s and after 10 s more.
    testbed.require(most <= 6, format!("one frame was pushed {most} times to one connection in 25 s"));
}

/// F45: 500 and 503, missing answers, and failures that delivered the frame all the same.
pub(crate) async fn failing(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    testbed.management.set_behaviour(Behaviour::Failing(0.5));
    testbed.run_for(8.0).await;
    testbed.end_fault();
    require_faulted_posts(testbed);
}

/// F46: 200, but the frame is dropped. The next frame or the next pong reveals the gap.
pub(crate) async fn dropping(testbed: &mut Testbed) {
    let from = Instant::now();
    testbed.management.set_behaviour(Behaviour::Dropping(0.1));
    testbed.run_for(8.0).await;
    testbed.end_fault();
    require_faulted_posts(testbed);
    testbed.stop_senders().await;
    testbed.wait_until_idle().await;
    let accepted = testbed.service.log.accepted.lock().unwrap().clone();
    let mut recovered = Vec::new();
    for device in &testbed.devices {
        let seen = device.seen.lock().unwrap();
        for shown in seen.shown.iter().filter(|shown| !seen.first_frame_at.contains_key(&shown.id)) {
            let sent = accepted.iter().find(|sent| sent.request["title"] == *shown.title);
            recovered.extend(sent.map(|sent| shown.at.saturating_duration_since(sent.accepted_at).as_secs_f64()));
        }
    }
    recovered.sort_by(f64::total_cmp);
    let (count, p99) = (recovered.len(), percentile(&recovered, 0.99));
    testbed.note(format!("{count} dropped frames were recovered by a sync, p99 after {p99:.1} s"));
    testbed.require(count > 0, "no dropped frame had to be recovered");
    // What was accepted fast has its place, and is shown, only once a drain has written it.
    let heartbeats = if testbed.accepts_fast { 3.0 } else { 2.0 };
    // On a busy machine, the call that fetches it takes as long as any.
    let [_, call_ms] = testbed.accept_ms(from, Instant::now());
    let bound = heartbeats * HEARTBEAT.as_secs_f64() + 2.0 * call_ms / 1_000.0;
    testbed.require(p99 <= bound, format!("recovery took {p99:.1} s, more than {bound:.1} s"));
    testbed.resume_load();
}

/// F47: half of the frames come late, and a third come twice.
pub(crate) async fn disordered(testbed: &mut Testbed) {
    testbed.management.set_behaviour(Behaviour::Disordered);
    testbed.run_for(8.0).await;
    testbed.end_fault();
    let duplicates = testbed.duplicate_frames(true);
    testbed.require(duplicates > 0, "no frame came twice");
}

/// F48: sockets break and `$disconnect` never comes. Pushes to them get 410, and their connections are removed. A user who does
/// not come back is offline.
pub(crate) async fn never_disconnected(testbed: &mut Testbed) {
    testbed.lambda.swallow_calls("disconnect", true);
    for round in 0..8 {
        pause(500).await;
        let device = round % testbed.devices.len();
        testbed.devices[device].cut_off();
    }
    pause(1_000).await;
    let known = testbed.count(SOCKETS).await;
    testbed.require(known > sockets(testbed).count() as i64, "the record had no connections of broken sockets");
    // One who writes over HTTP alone: others may know of it.
    let gone = 3;
    testbed.devices[gone].goes_away();
    let (away_since, user) = (Instant::now(), testbed.users[gone].clone());
    testbed.run_for(TRUST_GONE_AFTER_S).await;
    require_offline(testbed, &user, away_since).await;
    testbed.devices[gone].comes_back();
    testbed.end_fault();
    require_registry_matches(testbed, 8.0).await;
    testbed.lambda.swallow_calls("disconnect", false);
}

/// Requires that a user without a socket is offline when its lease has ended at the latest, and that others were told once.
async fn require_offline(testbed: &mut Testbed, user: &str, since: Instant) {
    let asks = format!("/api/presence?userIds={user}");
    let mut is_online = true;
    while is_online && since.elapsed() < PRESENCE_LEASE + Duration::from_secs(5) {
        pause(200).await;
        let answer = testbed.calls(&testbed.users[0], "GET", &asks, &Value::Null).await.json();
        is_online = answer["users"][0]["online"] != false;
    }
    let took = since.elapsed();
    testbed.note(format!("{user} was offline {:.0} s after its socket had broken", took.as_secs_f64()));
    testbed.require(!is_online, format!("{user} is still online {took:?} after its last socket broke"));
    // The drain tells of it, once and at best effort.
    let told =
        |testbed: &Testbed| -> Vec<usize> { testbed.devices.iter().map(|device| times_told(device, user)).collect() };
    let offline_at = Instant::now();
    while told(testbed).iter().all(|times| *times == 0) && offline_at.elapsed() < TELLING {
        pause(200).await;
    }
    // Should it be told twice.
    pause(3_000).await;
    let told = told(testbed);
    let is_told_once = told.contains(&1) && told.iter().all(|times| *times <= 1);
    testbed.require(is_told_once, format!("devices were told {told:?} times that {user} went offline"));
}

fn times_told(device: &Device, offline: &str) -> usize {
    let seen = device.seen.lock().unwrap();
    seen.presence.iter().filter(|(user, online)| user == offline && !online).count()
}

fn require_faulted_posts(testbed: &mut Testbed) {
    let faulted = testbed.management.faulted_posts();
    testbed.require(faulted > 0, "the fault affected no push");
}

/// Requires that in the end the record has exactly one connection for each open socket.
async fn require_registry_matches(testbed: &mut Testbed, within_s: f64) {
    let mut known = 0;
    for _ in 0..(within_s * 10.0) as usize {
        known = testbed.count(SOCKETS).await;
        if known == sockets(testbed).count() as i64 && sockets(testbed).all(|device| device.is_open()) {
            return;
        }
        pause(100).await;
    }
    let open = sockets(testbed).filter(|device| device.is_open()).count();
    testbed.require(false, format!("the record has {known} sockets, but {open} are open"));
}

/// The devices that have a socket.
fn sockets(testbed: &Testbed) -> impl Iterator<Item = &Arc<Device>> {
    testbed.devices.iter().filter(|device| device.transport == Transport::Socket)
}
