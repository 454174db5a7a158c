//! The variables of an environment: all that are missing, malformed, misspelt, contradictory or weak.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use strsim::levenshtein;

use super::extent::Extent;
use super::finding::Finding;
use super::{remedies, weak};
use crate::config::{Config, ConfigError, Origins, SecretNames};

/// The check of those of which nothing is to be said.
pub(crate) const CHECK: &str = "variables";
/// What production cannot do without, whatever the function.
const OF_PRODUCTION: [&str; 3] = ["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];
/// Names shorter than this are too easily alike.
const MIN_COMPARED: usize = 8;
/// How many characters a misspelt name may have added, left out or exchanged.
const MAX_DISTANCE: usize = 2;

/// Examines variables. The configuration is read without those that cannot be used, so that the rest can be examined too;
/// `None` if that is impossible.
pub fn examine(variables: &HashMap<String, String>, extent: Extent) -> (Option<Config>, Vec<Finding>) {
    let is_production = variables.get("ENV").is_some_and(|env| env.trim() == "production");
    let needed: &[&str] = if is_production && extent == Extent::Deployment { &OF_PRODUCTION } else { &[] };
    let (config, problems) = match read(variables, needed, extent) {
        Ok(config) => (Some(config), Vec::new()),
        Err(ConfigError(problems)) => (read_the_rest(variables, &problems, extent), problems),
    };
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .map(|problem| {
            let (name, required) = problem.split_once(' ').unwrap_or((problem.as_str(), "cannot be used"));
            Finding::problem(name, required, remedies::of(name))
        })
        .collect();
    findings.extend(misspelt(variables));
    if let Some(config) = &config {
        findings.extend(weak::findings(variables, config, is_production, extent));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "every variable that is set can be used"));
    }
    (config, findings)
}

fn read(variables: &HashMap<String, String>, needed: &[&str], extent: Extent) -> Result<Config, ConfigError> {
    let origins = match extent {
        Extent::Deployment => Origins::Loopback,
        Extent::Function => Origins::Exact(Vec::new()),
    };
    Config::read(|name| variables.get(name).cloned(), needed, origins)
}

/// The configuration without the variables that have problems, and without those that only make sense with them.
fn read_the_rest(variables: &HashMap<String, String>, problems: &[String], extent: Extent) -> Option<Config> {
    let named: Vec<&str> = problems.iter().filter_map(|problem| problem.split(' ').next()).collect();
    let is_left_out = |name: &str| {
        named.iter().any(|problem| match *problem {
            "REDIS_URL" => name == "REDIS_URL" || name == "REDIS_HOST",
            problem => {
                let family = ["JWT_", "VAPID_"].into_iter().find(|family| problem.starts_with(family));
                family.map_or(name == problem, |family| name.starts_with(family))
            }
        })
    };
    let rest = variables.iter().filter(|(name, _)| !is_left_out(name));
    let rest: HashMap<String, String> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    read(&rest, &[], extent).ok()
}

/// Variables that look like one of ours and are none.
fn misspelt(variables: &HashMap<String, String>) -> Vec<Finding> {
    let known = known();
    let mut given: Vec<&String> = variables.keys().filter(|name| !known.contains(*name)).collect();
    given.sort_unstable();
    let alike = |name: &str| {
        let near = known.iter().filter(|known| known.len() >= MIN_COMPARED && name.len() >= MIN_COMPARED);
        near.map(|known| (levenshtein(name, known), known)).filter(|(distance, _)| *distance <= MAX_DISTANCE).min()
    };
    let found = given.into_iter().filter_map(|name| Some((name, alike(name)?.1)));
    let found = found.map(|(name, meant)| {
        let what = format!("no function reads a variable of this name: is {meant} meant?");
        Finding::warning(name, what, format!("rename it to {meant}, unless another program reads it"))
    });
    found.collect()
}

/// Every variable that the configuration reads.
fn known() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    // Some are read only if others are set.
    for answer in [None, Some("1".repeat(40))] {
        let variable = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            answer.clone()
        };
        // Only the names matter here, so errors about the values are ignored.
        let _ = Config::read(variable, &[], Origins::Loopback);
        let _ = SecretNames::read(variable);
    }
    asked.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    const SECRET: &str = "5f1b0e6a9c3d478812ab34cd56ef7890";

    fn examined(given: &[(&str, &str)]) -> (Option<Config>, Vec<Finding>) {
        let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        examine(&variables.collect(), Extent::Deployment)
    }

    #[test]
    fn a_laptop_without_variables_is_as_it_should_be() {
        let (config, findings) = examined(&[]);
        assert!(config.is_some());
        assert_eq!(findings, [Finding::ok("variables", "every variable that is set can be used")]);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_rest_is_read() {
        let given = [
            ("JWT_SECRET", "hunter2"),
            ("RETENTION_DAYS", "hunter2"),
            ("VAPID_SUBJECT", "hunter2"),
            ("REDIS_URL", "hunter2://"),
            ("DATABASE_URL", "postgres://u:hunter2@h/x"),
        ];
        let (config, findings) = examined(&given);
        let names: Vec<&str> = findings.iter().map(|finding| finding.check.as_str()).collect();
        for name in ["JWT_SECRET", "RETENTION_DAYS", "VAPID_PUBLIC_KEY", "VAPID_PRIVATE_KEY", "REDIS_URL"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(findings.iter().all(|finding| finding.state == State::Problem && finding.remedy.is_some()));
        assert!(!format!("{findings:?}").contains("hunter2"));
        assert_eq!(config.unwrap().database_kind(), "postgres");
    }

    #[test]
    fn the_rest_can_be_read_whatever_has_a_problem() {
        for given in [
            &[("JWT_JWKS_URL", "https://id.example.com/keys")][..],
            &[("JWT_JWKS_URL", "https://id.example.com/keys"), ("JWT_SECRET", SECRET)],
            &[("REDIS_HOST", "a b"), ("REDIS_PORT", "0")],
            &[("REDIS_URL", "redis://a"), ("REDIS_URLS", "redis://a,redis://a"), ("REDIS_CLUSTER", "true")],
            &[("REDIS_URL", "redis://a/1"), ("REDIS_CLUSTER", "true")],
            &[("ENV", "production"), ("ENABLE_TEST_ENDPOINTS", "true")],
            &[("VAPID_PUBLIC_KEY", "x"), ("VAPID_PRIVATE_KEY", "x"), ("VAPID_SUBJECT", "x")],
        ] {
            assert!(examined(given).0.is_some(), "{given:?}");
        }
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_one_that_is_meant() {
        let misspelt = |name: &str| -> Vec<String> {
            let (_, findings) = examined(&[(name, "x")]);
            findings.into_iter().filter(|finding| finding.check == name).map(|finding| finding.what).collect()
        };
        for (name, meant) in [
            ("REDIS_URI", "REDIS_URL"),
            ("JWT_SECERT", "JWT_SECRET"),
            ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
            ("DATABASE_URI", "DATABASE_URL"),
        ] {
            assert!(misspelt(name).iter().any(|what| what.contains(&format!("is {meant} meant"))), "{name}");
        }
        for name in ["HOME", "PATH", "HOSTNAME", "LD_LIBRARY_PATH", "CARGO_MANIFEST_DIR", "RUST_BACKTRACE"] {
            assert_eq!(misspelt(name), [""; 0], "{name}");
        }
    }

    #[test]
    fn production_needs_a_database_a_redis_and_a_secret() {
        let (_, findings) = examined(&[("ENV", "production")]);
        let problems = findings.iter().filter(|finding| finding.state == State::Problem);
        assert_eq!(problems.map(|finding| finding.check.as_str()).collect::<Vec<_>>(), OF_PRODUCTION);
        let variables = HashMap::from([("ENV".to_owned(), "production".to_owned())]);
        let (_, findings) = examine(&variables, Extent::Function);
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
    }
}
