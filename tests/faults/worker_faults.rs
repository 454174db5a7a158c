//! Functions die, freeze, come twice and come at once.

use shared::clock::At;
use shared::delivery::queue::{Entry, Queue};
use shared::delivery::work::{SHARDS, Work};
use shared::ids::UserId;
use shared::inbox::notification::Priority;

use crate::management::Day;
use crate::stage::{Stage, pause};
use crate::steps::{self, Place, Then};

/// No fault: nothing may even come twice.
pub(crate) async fn nothing(stage: &mut Stage) {
    stage.works_for(5.0).await;
    stage.heals();
    stage.doubles_nothing = true;
}

/// F35: `send` and the drain die at every step that they take.
pub(crate) async fn killed_at_every_step(stage: &mut Stage) {
    for place in [Place::Postgres, Place::Redis, Place::Management] {
        let (send, drain) = (steps::of_send(stage, place, Then::IsKilled).await, steps::of_drain(stage, place).await);
        stage.remarks(format!("{place:?}: send was killed at {send} steps, the drain at {drain}"));
        stage.requires(send > 1 && drain > 1, format!("neither asks anything of {place:?}"));
    }
    stage.heals();
}

/// F36: what a dead drain had taken comes back; what it had pushed comes twice on the wire and is shown once.
pub(crate) async fn drains_are_killed(stage: &mut Stage) {
    // Pushes that fail leave work for the drain.
    stage.management.has(Day::Limited(0.5));
    let mut killed = 0;
    for _ in 0..24 {
        pause(350).await;
        killed += stage.lambda.kills_busy("drain");
    }
    stage.heals();
    stage.requires(killed > 0, "no drain was at work when it was to be killed");
    stage.remarks(format!("killed {killed} drains at work"));
}

/// F38: drains and sends freeze in the middle, for longer than what they have taken is theirs, and go on.
pub(crate) async fn frozen(stage: &mut Stage) {
    stage.management.has(Day::Limited(0.5));
    let mut froze = 0;
    for _ in 0..2 {
        let mut frozen = Vec::new();
        for _ in 0..20 {
            pause(100).await;
            frozen.extend(stage.lambda.freezes_busy("drain"));
            if frozen.len() > 1 {
                break;
            }
        }
        frozen.extend(stage.lambda.freezes_busy("send").into_iter().take(1));
        froze += frozen.len();
        pause(6_000).await;
        frozen.iter().for_each(|process| process.thaws());
        pause(1_000).await;
    }
    stage.heals();
    stage.requires(froze > 0, "nobody was at work when he was to freeze");
    stage.remarks(format!("froze {froze} processes at work, for 6 s each"));
}

/// F39: ten schedules at once; each piece of work is done by one.
pub(crate) async fn ten_schedules(stage: &mut Stage) {
    stage.management.has(Day::Limited(0.5));
    for _ in 0..8 {
        stage.drains(10).await;
        pause(500).await;
    }
    stage.heals();
    stage.doubles_nothing = true;
}

/// F41: every call that succeeded is made again, with the same event.
pub(crate) async fn repeated_events(stage: &mut Stage) {
    for function in ["send", "drain", "disconnect"] {
        stage.lambda.repeats(function, true);
    }
    stage.works_for(6.0).await;
    let otherwise = stage.lambda.otherwise("send");
    stage.requires(otherwise == 0, format!("{otherwise} repeated events were answered otherwise than the first"));
    for function in ["send", "drain", "disconnect"] {
        stage.lambda.repeats(function, false);
    }
    stage.heals();
}

/// F51: in every part of the queue there is what nobody can read, what a later version wrote, and work for a user who is
/// gone. The first two are set aside, and whatever stands behind them is delivered.
pub(crate) async fn poisoned(stage: &mut Stage) {
    stage.management.has(Day::Limited(0.5));
    stage.works_for(1.0).await;
    let mut strange = 0;
    for shard in 0..SHARDS {
        for (priority, text) in
            [("critical", format!("none of ours, {shard}")), ("normal", format!("9 normal {{{shard}}}"))]
        {
            let key = format!("{}:{{q{shard:02}}}:{priority}", stage.name);
            stage.servers.redis.does(&["XADD", &key, "*", "w", &text]);
            strange += 1;
        }
    }
    let gone = (0..20).map(|n| Entry {
        work: Work {
            user: UserId::new(format!("gone-{n}")).unwrap(),
            offset: 1,
            fence_ms: 1,
            priority: Priority::High,
            throttled: 0,
            left: Vec::new(),
        },
        wait_ms: 0,
    });
    stage.queue.add(&gone.collect::<Vec<_>>(), At::Server).await;
    stage.works_for(6.0).await;
    stage.heals();
    stage.comes_to_rest().await;
    let letters = stage.counts("SELECT count(*) FROM dead_letters WHERE payload IS NOT NULL").await;
    // A drain whose time was over keeps what it cannot give back, until its claim lapses.
    let claimed = stage.queue.depth(At::Server).await.map_or(0, |depth| depth.processing);
    stage.remarks(format!("{letters} of {strange} that nobody can read were set aside, {claimed} are claimed"));
    let found = letters + i64::try_from(claimed).unwrap_or(i64::MAX);
    stage.requires(letters > 0 && found >= strange, format!("of {strange} that nobody can read {found} are known"));
}
