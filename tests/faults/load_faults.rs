//! Too much at once, and the same at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::Answer;

use crate::proxy::Mode;
use crate::sender::{Sent, message};
use crate::stage::{Stage, pause};

/// F52: ten times as many services, none of which rests. Some are refused; what is accepted is kept.
pub(crate) async fn overload(stage: &mut Stage) {
    stage.works_for(2.0).await;
    let from = Instant::now();
    stage.sends("crowd", 40, Duration::ZERO);
    stage.works_for(6.0).await;
    stage.the_last_leave().await;
    stage.heals();
    let to = Instant::now();
    let [p50, p99] = stage.accept_ms(from, to);
    stage.remarks(format!("accepts took {p50:.0}/{p99:.0} ms meanwhile"));
    let other = stage.answered(from, to, |status| !(200..300).contains(&status) && ![429, 503].contains(&status));
    stage.requires(other == 0, format!("{other} calls were neither accepted nor refused with 429 or 503"));
}

/// F55: one key by four calls at once, on four processes, while Redis comes and goes. One row, one answer.
pub(crate) async fn one_key_at_once(stage: &mut Stage) {
    let modes = [Mode::Hold, Mode::Pass, Mode::Reset, Mode::LoseAnswers(0.5), Mode::Pass];
    for n in 0..40 {
        stage.redis.does(modes[n % modes.len()]);
        let asked = message("parallel", n, &stage.users[..3]);
        let service = stage.service.clone();
        let answers = join_all((0..4).map(|_| service.tries(&asked, false))).await;
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        let accepted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
        let same = accepted.windows(2).all(|pair| pair[0].text == pair[1].text);
        stage.requires(same, format!("parallel/{n} has several answers"));
        stage.requires(accepted.len() == 4, format!("parallel/{n} was refused to {} of 4", 4 - accepted.len()));
        if let Some(first) = accepted.first() {
            let (answer, accepted_at) = (first.text.clone(), Instant::now());
            stage.service.log.accepted.lock().unwrap().push(Sent { asked, answer, accepted_at });
        }
        pause(60).await;
    }
    stage.heals();
}

/// F56: one key with four bodies at once. Exactly one is accepted, the others are refused for good.
pub(crate) async fn one_key_other_body(stage: &mut Stage) {
    let (mut won, mut refused) = (0, 0);
    for n in 0..40 {
        let asked: Vec<_> = (0..4)
            .map(|version| {
                let mut asked = message("contested", n, &stage.users[..2]);
                asked["body"] = format!("version {version}").into();
                asked
            })
            .collect();
        let (service, headers) = (
            stage.service.clone(),
            [("authorization", stage.service.authorization.as_str()), ("content-type", "application/json")],
        );
        let path = "/api/notifications/send";
        let calls =
            asked.iter().map(|one| harness::http::call(service.address, "POST", path, &headers, one.to_string()));
        let answers = join_all(calls).await;
        let winners: Vec<usize> = (0..4).filter(|index| answers[*index].status == 202).collect();
        let others = answers.iter().filter(|answer| answer.code() == "idempotency_key_reused").count();
        (won, refused) = (won + winners.len(), refused + others);
        let told = (winners.len(), others);
        stage.requires(told == (1, 3), format!("contested/{n}: accepted and refused are {told:?}"));
        for index in winners {
            let (answer, accepted_at) = (answers[index].text.clone(), Instant::now());
            let sent = Sent { asked: asked[index].clone(), answer, accepted_at };
            stage.service.log.accepted.lock().unwrap().push(sent);
        }
    }
    stage.remarks(format!("{won} accepted, {refused} refused with idempotency_key_reused"));
    stage.heals();
}
