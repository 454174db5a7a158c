//! Functions are killed, frozen, invoked twice and invoked concurrently.

use shared::clock::At;
use shared::delivery::queue::{Entry, Queue};
use shared::delivery::work::{PushWork, SHARDS};
use shared::ids::UserId;
use shared::inbox::notification::Priority;

use crate::management_api::Behaviour;
use crate::steps::{self, Failure, Target};
use crate::testbed::{Duplicates, Testbed, pause};

/// No fault: not even duplicate frames are allowed.
pub(crate) async fn no_fault(testbed: &mut Testbed) {
    testbed.run_for(5.0).await;
    testbed.end_fault();
    testbed.duplicates = Duplicates::Forbidden;
}

/// F35: `send`, `chats` with a message, and the drain are killed at each of their steps.
pub(crate) async fn killed_at_every_step(testbed: &mut Testbed) {
    for target in [Target::Postgres, Target::Redis, Target::ManagementApi] {
        if target == Target::Redis && testbed.servers.is_cluster {
            testbed.note("Redis: left out, since clients reach the servers of a cluster without the proxy".to_owned());
            continue;
        }
        let send = steps::fail_send(testbed, target, Failure::Kill).await;
        let chats = steps::fail_message(testbed, target, Failure::Kill).await;
        let drain = steps::fail_drain(testbed, target).await;
        testbed.note(format!("{target:?}: send was killed at {send} steps, chats at {chats}, the drain at {drain}"));
        testbed.require(send.min(chats).min(drain) > 1, format!("send, chats or the drain never called {target:?}"));
    }
    testbed.end_fault();
}

/// F36: work that a killed drain had claimed is retried. Frames that it had pushed come twice and are shown once.
pub(crate) async fn drains_killed(testbed: &mut Testbed) {
    // Failed pushes leave work for the drain.
    testbed.management.set_behaviour(Behaviour::Throttled(0.5));
    let mut killed = 0;
    for _ in 0..24 {
        pause(350).await;
        killed += testbed.lambda.kill_busy("drain");
    }
    testbed.end_fault();
    testbed.require(killed > 0, "no drain was busy when it was to be killed");
    testbed.note(format!("killed {killed} busy drains"));
}

/// F38: busy drains and sends are frozen for longer than their claims last, and then go on.
pub(crate) async fn frozen(testbed: &mut Testbed) {
    testbed.management.set_behaviour(Behaviour::Throttled(0.5));
    let mut froze = 0;
    for _ in 0..2 {
        let mut frozen = Vec::new();
        for _ in 0..20 {
            pause(100).await;
            frozen.extend(testbed.lambda.freeze_busy("drain"));
            if frozen.len() > 1 {
                break;
            }
        }
        frozen.extend(testbed.lambda.freeze_busy("send").into_iter().take(1));
        froze += frozen.len();
        pause(6_000).await;
        frozen.iter().for_each(|process| process.thaw());
        pause(1_000).await;
    }
    testbed.end_fault();
    testbed.require(froze > 0, "no process was busy when it was to be frozen");
    testbed.note(format!("froze {froze} busy processes for 6 s each"));
}

/// F39: ten drains run at once; each piece of work is done by only one of them.
pub(crate) async fn ten_schedules(testbed: &mut Testbed) {
    testbed.management.set_behaviour(Behaviour::Throttled(0.5));
    for _ in 0..8 {
        testbed.run_drains(10).await;
        pause(500).await;
    }
    testbed.end_fault();
    testbed.duplicates = Duplicates::OfMessages;
}

/// F41: every successful call is made again with the same event.
pub(crate) async fn repeated_events(testbed: &mut Testbed) {
    for function in ["send", "drain", "disconnect"] {
        testbed.lambda.repeat_calls(function, true);
    }
    testbed.run_for(6.0).await;
    let different_answers = testbed.lambda.different_answers("send");
    testbed.require(
        different_answers == 0,
        format!("{different_answers} repeated events were answered differently from the first"),
    );
    for function in ["send", "drain", "disconnect"] {
        testbed.lambda.repeat_calls(function, false);
    }
    testbed.end_fault();
}

/// F51: every shard of the queue contains unreadable entries, entries of a later version, and work for users who do not
/// exist. The first are dead-lettered, the second are kept for a version that knows them, and the entries behind them are
/// delivered.
pub(crate) async fn poisoned(testbed: &mut Testbed) {
    testbed.management.set_behaviour(Behaviour::Throttled(0.5));
    testbed.run_for(1.0).await;
    let mut poison = 0;
    for shard in 0..SHARDS {
        for (priority, text) in
            [("critical", format!("none of ours, {shard}")), ("normal", format!("9 normal {{{shard}}}"))]
        {
            let key = format!("{}:{{q{shard:02}}}:{priority}", testbed.name);
            testbed.servers.redis.does(&["XADD", &key, "*", "w", &text]);
            poison += 1;
        }
    }
    let nonexistent = (0..20).map(|n| Entry {
        work: PushWork {
            user: UserId::new(format!("gone-{n}")).unwrap(),
            offset: 1,
            fence_ms: 1,
            priority: Priority::High,
            throttled: 0,
            left: Vec::new(),
        }
        .into(),
        wait_ms: 0,
    });
    testbed.queue.add(&nonexistent.collect::<Vec<_>>(), At::Server).await;
    testbed.run_for(6.0).await;
    testbed.end_fault();
    testbed.wait_until_idle().await;
    let dead_letters = testbed.count("SELECT count(*) FROM dead_letters WHERE payload IS NOT NULL").await;
    // A drain that runs out of time keeps entries that it cannot give back until their claims lapse.
    let claimed = testbed.queue.depth(At::Server).await.map_or(0, |depth| depth.processing);
    testbed
        .note(format!("of {poison} foreign entries {dead_letters} were dead-lettered, {claimed} are kept or claimed"));
    let found = dead_letters + i64::try_from(claimed).unwrap_or(i64::MAX);
    let unreadable = i64::try_from(SHARDS).unwrap_or(i64::MAX);
    testbed.require(
        (1..=unreadable).contains(&dead_letters) && found >= poison,
        format!("{found} of {poison} foreign entries are found, {dead_letters} of them dead-lettered"),
    );
}
