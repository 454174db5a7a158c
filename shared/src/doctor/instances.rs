//! What the instances of Redis say about themselves, and whether they serve what calls ask.

use super::clocks;
use super::finding::Finding;
use crate::fast::accept::Accept;
use crate::telemetry::health::{Instance, Instances, Role, Status, Warning, WarningName};

const CHECK: &str = "redis";

/// One instance, asked by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What operators call it: `redis-1`; a whole cluster is `redis`.
    pub name: String,
    /// What it says; otherwise why it says nothing, without its address.
    pub answer: Result<Said, String>,
}

/// What an instance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its version; `None` if the access list forbids to ask.
    pub version: Option<String>,
    /// Its role in replication.
    pub role: Option<Role>,
    /// Whether it is a server of a cluster; `None` if the access list forbids to ask.
    pub is_in_cluster: Option<bool>,
    /// How far its clock is ahead of this process's, in milliseconds.
    pub ahead_ms: i64,
}

/// The findings about instances that were asked one by one. `is_cluster`: the configuration says that they are a cluster.
pub fn of_examined(examined: &[Examined], is_cluster: bool) -> Vec<Finding> {
    examined.iter().flat_map(|instance| of_one(instance, is_cluster)).collect()
}

fn of_one(Examined { name, answer }: &Examined, is_cluster: bool) -> Vec<Finding> {
    let said = match answer {
        Err(reason) => {
            let what = format!("{name} cannot be used: {reason}");
            return vec![Finding::problem(CHECK, what, remedy_of_silence(reason))];
        }
        Ok(said) => said,
    };
    let version = said.version.as_ref().map(|version| format!(": Redis {version}")).unwrap_or_default();
    let mut found = vec![Finding::ok(CHECK, format!("{name} answers{version}"))];
    if said.version.is_none() {
        found.push(Finding::warning(
            CHECK,
            format!("{name} does not say its version, so neither its eviction policy nor its memory and persistence are known"),
            "allow the user of the functions the command INFO, if this Redis has it",
        ));
    }
    match (said.is_in_cluster, is_cluster) {
        (Some(false), true) => found.push(Finding::problem(
            CHECK,
            format!("REDIS_CLUSTER is true, and {name} is not a server of a cluster"),
            "leave REDIS_CLUSTER out, or name a server of the cluster in REDIS_URL",
        )),
        (Some(true), false) => found.push(Finding::problem(
            CHECK,
            format!("{name} is a server of a cluster, and REDIS_CLUSTER is not true"),
            "set REDIS_CLUSTER=true",
        )),
        _ => {}
    }
    if said.role == Some(Role::Replica) && !is_cluster {
        found.push(Finding::problem(
            CHECK,
            format!("{name} is a replica, which refuses every write"),
            "name the primary (the primary endpoint of a managed Redis) in REDIS_URL",
        ));
    }
    found.extend(clocks::skew(CHECK, said.ahead_ms).map(|finding| {
        let what = format!("{name}: {}", finding.what);
        Finding { what, ..finding }
    }));
    found
}

fn remedy_of_silence(reason: &str) -> &'static str {
    if ["NOAUTH", "WRONGPASS", "uthentication"].iter().any(|refused| reason.contains(refused)) {
        "correct the user and password in REDIS_URL, or in REDIS_USERNAME and REDIS_PASSWORD"
    } else if reason.contains("NOPERM") {
        "allow the user of the functions every command but administrative ones, on the keys and channels of its prefix"
    } else if reason.contains("refused") {
        "start it, and see that host and port in REDIS_URL are its own"
    } else {
        "see that host, port and TLS (rediss://) in REDIS_URL are right, and that security groups let the functions in"
    }
}

/// The findings about what calls ask of the instances. `silence`: what was wrong with each instance that did not serve.
pub fn of_health(status: &Status, silence: &[String], instances: &Instances, accept: Accept) -> Vec<Finding> {
    let mut found = Vec::new();
    match status {
        Status::Ok | Status::Off => {}
        Status::Unavailable => {
            let reasons = if silence.is_empty() { "no answer in time".to_owned() } else { silence.join("; ") };
            let what = format!("it does not perform what calls ask: {reasons}");
            let remedy = if reasons.contains("NOPERM") {
                "allow the role the keys and channels of REDIS_KEY_PREFIX, EVALSHA, EVAL and the commands of scripts"
            } else {
                "look at its log and its memory; sends go on from the database meanwhile"
            };
            found.push(Finding::problem(CHECK, what, remedy));
        }
        Status::Warned(warnings) => found.extend(warnings.iter().map(of_warning)),
    }
    if accept == Accept::Fast {
        found.extend(instances.without_append_only_file().iter().map(of_warning));
    }
    found
}

fn of_warning(Warning { instance, name, text }: &Warning) -> Finding {
    let what = format!("{instance}: {text}");
    match name {
        WarningName::Away => Finding::problem(CHECK, what, "start it, or take it out of REDIS_URLS"),
        WarningName::OldVersion => Finding::problem(CHECK, what, "upgrade it: older ones are not tested"),
        WarningName::OtherVersion => Finding::warning(CHECK, what, "give all instances the same version"),
        WarningName::EvictionPolicy => {
            Finding::problem(CHECK, what, "CONFIG SET maxmemory-policy noeviction, and in its parameter group or file")
        }
        WarningName::OtherEvictionPolicy => Finding::warning(CHECK, what, "set noeviction at all instances"),
        WarningName::Memory => Finding::warning(CHECK, what, "raise maxmemory, or add an instance (REDIS_URLS)"),
        WarningName::Clients => {
            Finding::warning(CHECK, what, "raise maxclients, or limit the concurrency of functions")
        }
        WarningName::Persistence => Finding::problem(CHECK, what, "look at its log and at the space on its disk"),
        WarningName::NoAppendOnlyFile => Finding::problem(
            CHECK,
            what,
            "CONFIG SET appendonly yes, and in its file, or give it a replica; or set ACCEPT=durable",
        ),
        WarningName::ReplicationLag => {
            Finding::warning(CHECK, what, "look at the replica: a failover loses what it lacks")
        }
    }
}

/// Why instances that did not serve did not.
pub fn silence(instances: &Instances) -> Vec<String> {
    let silent = instances.instances.iter().filter(|instance| !instance.healthy);
    silent.filter_map(|Instance { name, last_error, .. }| Some(format!("{name}: {}", last_error.as_ref()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn said() -> Said {
        Said { version: Some("7.2.4".into()), role: Some(Role::Primary), is_in_cluster: Some(false), ahead_ms: 0 }
    }

    fn problems(answer: Result<Said, String>, is_cluster: bool) -> Vec<Finding> {
        let findings = of_examined(&[Examined { name: "redis-1".into(), answer }], is_cluster);
        findings.into_iter().filter(|finding| finding.state != State::Ok).collect()
    }

    #[test]
    fn an_instance_that_does_not_fit_the_configuration_is_told() {
        assert_eq!(problems(Ok(said()), false), []);
        for (answer, is_cluster, expected) in [
            (Ok(said()), true, "is not a server of a cluster"),
            (Ok(Said { is_in_cluster: Some(true), ..said() }), false, "REDIS_CLUSTER is not true"),
            (Ok(Said { role: Some(Role::Replica), ..said() }), false, "is a replica"),
            (Ok(Said { ahead_ms: 60_000, ..said() }), false, "its clock is 60 s ahead"),
            (Err("WRONGPASS".into()), false, "WRONGPASS"),
        ] {
            let found = problems(answer, is_cluster);
            assert!(found.len() == 1 && found[0].what.contains(expected), "{expected}: {found:?}");
        }
        assert!(problems(Err("NOAUTH".into()), false)[0].remedy.as_ref().is_some_and(|todo| todo.contains("password")));
    }
}
