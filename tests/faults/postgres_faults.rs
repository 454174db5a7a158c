//! Postgres is killed, hung and cut off. Nothing is promised meanwhile, and nothing that was is missing afterwards.

use std::time::Instant;

use crate::stage::{Stage, pause};
use crate::steps::{self, Place, Then};

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
        ended += stage
            .counts("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'carillon'")
            .await;
        pause(150).await;
    }
    stage.heals();
    stage.requires(ended > 0, "nobody was connected");
    stage.remarks(format!("ended {ended} backends"));
}
