//! API Gateway says that sockets are gone, that it is too much, that it failed, that all is well when nothing is; it
//! doubles, overtakes and forgets.

use std::time::Duration;

use crate::device::HEARTBEAT;
use crate::management::Day;
use crate::report::percentile;
use crate::stage::{Stage, pause};

/// What a connection must have lived for until "gone" is believed, and a little more.
const GROWN_UP: f64 = 11.0;
/// The connections that the record knows.
const CONNECTIONS: &str = "SELECT count(*) FROM connections";

/// F42: 410 for sockets that live. They are forgotten, find out by their next ping, and come back.
pub(crate) async fn gone(stage: &mut Stage) {
    stage.works_for(GROWN_UP).await;
    stage.management.has(Day::Gone(0.3));
    stage.works_for(4.0).await;
    stage.heals();
    is_spoilt(stage);
    let opened: usize = stage.devices.iter().map(|device| device.seen.lock().unwrap().opened).sum();
    stage.requires(opened > stage.devices.len(), "no connection was forgotten");
    registry_converges(stage, 8.0).await;
}

/// F43: 410 for a socket whose `$connect` has not returned yet. It is not forgotten for that.
pub(crate) async fn gone_when_new(stage: &mut Stage) {
    stage.management.has(Day::Unborn(Duration::from_millis(600)));
    for round in 0..6 {
        stage.works_for(1.2).await;
        let device = round % stage.devices.len();
        stage.devices[device].is_cut_off();
    }
    stage.works_for(1.5).await;
    stage.heals();
    is_spoilt(stage);
    registry_converges(stage, 5.0).await;
}

/// F44: too much, for half of all frames and then for all. What was refused comes back later and later.
pub(crate) async fn limited(stage: &mut Stage) {
    stage.works_for(1.0).await;
    stage.management.has(Day::Limited(0.5));
    stage.works_for(5.0).await;
    stage.management.has(Day::Limited(1.0));
    stage.works_for(20.0).await;
    stage.heals();
    is_spoilt(stage);
    let (posts, most) = (stage.management.posts(), stage.management.most_posts_of_a_frame());
    stage.remarks(format!("{posts} posts, of one frame to one connection at most {most}"));
    // Two by the SDK at each try; tries at once, after 5 s and after 10 s more.
    stage.requires(most <= 6, format!("one frame was posted {most} times to one connection in 25 s"));
}

/// F45: 500 and 503, answers that do not come, and failures that delivered all the same.
pub(crate) async fn failing(stage: &mut Stage) {
    stage.works_for(1.0).await;
    stage.management.has(Day::Failing(0.5));
    stage.works_for(8.0).await;
    stage.heals();
    is_spoilt(stage);
}

/// F46: 200, and the frame is dropped. The next frame shows the hole, or the next pong does.
pub(crate) async fn lossy(stage: &mut Stage) {
    stage.management.has(Day::Lossy(0.1));
    stage.works_for(8.0).await;
    stage.heals();
    is_spoilt(stage);
    stage.sends_no_more().await;
    stage.comes_to_rest().await;
    let accepted = stage.service.log.accepted.lock().unwrap().clone();
    let mut repaired = Vec::new();
    for device in &stage.devices {
        let seen = device.seen.lock().unwrap();
        for shown in seen.shown.iter().filter(|shown| !seen.rang.contains_key(&shown.id)) {
            let sent = accepted.iter().find(|sent| sent.asked["title"] == *shown.title);
            repaired.extend(sent.map(|sent| shown.at.saturating_duration_since(sent.accepted_at).as_secs_f64()));
        }
    }
    repaired.sort_by(f64::total_cmp);
    let (count, p99) = (repaired.len(), percentile(&repaired, 0.99));
    stage.remarks(format!("{count} that were dropped were repaired, p99 after {p99:.1} s"));
    stage.requires(count > 0, "nothing had to be repaired");
    let heartbeat = 2.0 * HEARTBEAT.as_secs_f64();
    stage.requires(p99 <= heartbeat, format!("the repair took {p99:.1} s, where {heartbeat:.1} s are two heartbeats"));
}

/// F47: half of the frames come late, a third twice.
pub(crate) async fn disorderly(stage: &mut Stage) {
    stage.management.has(Day::Disorderly);
    stage.works_for(8.0).await;
    stage.heals();
    let doubled = stage.doubled_frames();
    stage.requires(doubled > 0, "no frame came twice");
}

/// F48: sockets break and `$disconnect` never comes. What is pushed to them is gone, and so are they.
pub(crate) async fn never_disconnected(stage: &mut Stage) {
    stage.lambda.swallows("disconnect", true);
    for round in 0..8 {
        pause(500).await;
        let device = round % stage.devices.len();
        stage.devices[device].is_cut_off();
    }
    pause(1_000).await;
    let known = stage.counts(CONNECTIONS).await;
    stage.requires(known > stage.devices.len() as i64, "every dead connection was known to be dead");
    stage.works_for(GROWN_UP).await;
    stage.heals();
    registry_converges(stage, 8.0).await;
    stage.lambda.swallows("disconnect", false);
}

fn is_spoilt(stage: &mut Stage) {
    let spoilt = stage.management.spoilt();
    stage.requires(spoilt > 0, "no push met with the fault");
}

/// The record knows as many connections as there are open sockets, in the end.
async fn registry_converges(stage: &mut Stage, within_s: f64) {
    let mut known = 0;
    for _ in 0..(within_s * 10.0) as usize {
        known = stage.counts(CONNECTIONS).await;
        if known == stage.devices.len() as i64 && stage.devices.iter().all(crate::device::Device::is_open) {
            return;
        }
        pause(100).await;
    }
    let open = stage.devices.iter().filter(|device| device.is_open()).count();
    stage.requires(false, format!("the record knows {known} connections where {open} are open"));
}
