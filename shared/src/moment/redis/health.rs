//! How the servers are, and what happens while one of them is away.

use std::sync::Arc;

use super::link::{Link, Stats};
use super::routing::Router;
use super::{setup, steps};
use crate::config::RedisConfig;
use crate::telemetry::health::{BreakerState, Instance, Instances, Mode, Server, Status, Warning, WarningName};

pub(crate) fn mode(config: &RedisConfig) -> Mode {
    match config.instances.len() {
        _ if config.is_cluster => Mode::Cluster,
        1 => Mode::Single,
        _ => Mode::Balanced,
    }
}

/// What happens while an instance is away.
pub(crate) fn meanwhile(mode: Mode) -> &'static str {
    match mode {
        Mode::Balanced => "the other instances take over",
        Mode::Cluster => {
            "until a replica has taken over, each process enforces its own limits there and nothing is counted"
        }
        Mode::Single | Mode::Memory => "until it is back, each process enforces its own limits and nothing is counted",
    }
}

/// [`Health::check`](crate::telemetry::health::Health::check).
pub(crate) async fn check(router: &Router, mode: Mode) -> Status {
    // Whether it accepts what calls send, not only whether it is there.
    let question = |link: Arc<Link>, mut connection| async move {
        steps::perform(&mut connection, &[link.probe()]).await?;
        setup::ask(&mut connection).await
    };
    let asked = router.ask_each(question).await;
    if asked.iter().all(|(_, answer)| answer.is_none()) {
        return Status::Unavailable;
    }
    let present: Vec<(&str, &Server)> =
        asked.iter().filter_map(|(link, server)| Some((link.name(), server.as_ref()?))).collect();
    let away = asked.iter().filter(|(_, server)| server.is_none()).map(|(link, _)| Warning {
        instance: link.name().to_owned(),
        name: WarningName::Away,
        text: format!("it is away: {}", meanwhile(mode)),
    });
    let warnings: Vec<Warning> = away.chain(setup::warnings(&present)).collect();
    if warnings.is_empty() { Status::Ok } else { Status::Warned(warnings) }
}

/// [`Health::instances`](crate::telemetry::health::Health::instances).
pub(crate) async fn instances(router: &Router, mode: Mode) -> Instances {
    let question = |_, mut connection| async move { setup::ask(&mut connection).await };
    let asked = router.ask_each(question).await;
    let instances = asked.into_iter().map(|(link, answer)| {
        let breaker = link.breaker();
        let Stats { operations, errors, took_us, last_error } = link.stats();
        let percentile_ms = |percent| took_us.percentile(percent) as f64 / 1_000.0;
        Instance {
            name: link.name().to_owned(),
            healthy: answer.is_some() && breaker == BreakerState::Closed,
            server: answer.unwrap_or_default(),
            share: router.share(&link),
            operations,
            errors,
            p50_ms: percentile_ms(50),
            p99_ms: percentile_ms(99),
            breaker,
            last_error,
        }
    });
    Instances { mode, instances: instances.collect() }
}
