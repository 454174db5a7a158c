//! Postgres is killed, hung and cut off. Nothing is promised meanwhile, and nothing that was is missing afterwards.

use std::time::{Duration, Instant};

use crate::stage::{Stage, pause};
use crate::steps::{self, Place, Then};

/// The longest that anybody waits for a refusal: for a connection, and for an answer on it.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// F24: what was committed is there again; meanwhile everybody is refused, and nobody is promised anything.
pub(crate) async fn killed(stage: &mut Stage) {
    stage.works_for(1.5).await;
    for _ in 0..2 {
        stage.servers.postgres.is_killed();
        // Answers to what was committed before may still be on their way.
        pause(500).await;
        let from = Instant::now();
        pause(1_000).await;
        let promised = stage.answered(from, Instant::now(), |status| (200..300).contains(&status));
        stage.requires(promised == 0, format!("{promised} sends were accepted without a database"));
        stage.servers.postgres.is_back();
        stage.works_for(1.5).await;
    }
    stage.heals();
}

/// F26: it takes everything and answers nothing. Whoever waits is refused in time, and afterwards all is as before.
pub(crate) async fn hung(stage: &mut Stage) {
    stage.works_for(1.5).await;
    let from = Instant::now();
    stage.servers.postgres.hangs();
    stage.works_for(12.0).await;
    stage.servers.postgres.goes_on();
    stage.heals();
    stage.works_for(1.0).await;
    let longest = {
        let tries = stage.service.log.tries.lock().unwrap();
        tries.iter().filter(|call| call.at + call.took >= from).map(|call| call.took).max().unwrap_or_default()
    };
    stage.remarks(format!("the longest wait for an answer was {:.1} s", longest.as_secs_f64()));
    stage.requires(longest <= REFUSED_WITHIN, format!("somebody waited for {longest:?}"));
}

/// F27: the connection ends at every step of the protocol, before what was said arrives and before it is answered.
pub(crate) async fn cut_at_every_step(stage: &mut Stage) {
    let cut = steps::of_send(stage, Place::Postgres, Then::IsCut).await;
    stage.remarks(format!("send was cut off at {cut} steps"));
    stage.heals();
}

/// F28: backends are ended from outside, again and again.
pub(crate) async fn terminated(stage: &mut Stage) {
    stage.works_for(1.0).await;
    let mut ended = 0;
    for _ in 0..30 {
        ended += stage.ends_backends().await;
        pause(150).await;
    }
    stage.heals();
    stage.requires(ended > 0, "nobody was connected");
    stage.remarks(format!("ended {ended} backends"));
}
