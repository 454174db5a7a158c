//! The secrets that variables name in place of their values. They are read at start, all at the same time, and again when a value
//! was refused or has been used for long. A call that needs a newer value reads it, since a function has no background tasks.

mod refusal;
mod secrets_manager;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

pub use self::refusal::{Refusal, Unusable};
use self::secrets_manager::SecretsManager;
use crate::aws;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Origins, Secret, SecretName, SecretNames};

/// The shortest time between two reads of a secret because a server has refused its value. The read at start does not count. A
/// server that refuses whatever it is given must not cost a call of Secrets Manager for each call of ours.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

const OF_DATABASE: &[&str] = &["DATABASE_URL", "DATABASE_PASSWORD"];
const OF_FUNCTIONS_ROLE: &[&str] = &["FUNCTIONS_DATABASE_URL", "FUNCTIONS_DATABASE_PASSWORD"];
const OF_REDIS: &[&str] = &["REDIS_URL", "REDIS_URLS", "REDIS_USERNAME", "REDIS_PASSWORD"];
const OF_TOKENS: &[&str] = &["JWT_SECRET", "JWT_ENCRYPTION_KEY", "JWT_SECRET_PREVIOUS"];

/// The variables of a process, after the secrets that they name were read.
pub struct Resolved {
    /// All variables, with values in place of names, and without those whose value cannot be had.
    pub variables: HashMap<String, String>,
    /// Those whose value cannot be had, and why.
    pub unusable: Vec<Unusable>,
    sources: Sources,
    /// When the secrets were read, in milliseconds since 1970.
    read_at_ms: i64,
}

/// Where values come from.
struct Sources {
    /// The secrets, by the variables that name them.
    names: Vec<(&'static str, SecretName)>,
    manager: SecretsManager,
    clock: Clock,
}

/// Different secrets, by their ARNs.
type Different<'a> = BTreeMap<&'a str, &'a SecretName>;

/// Reads every secret that these variables name, each once. Asks nothing if they name none. Takes 4 s at most.
pub async fn resolve(variables: &HashMap<String, String>, clock: &Clock) -> Resolved {
    let SecretNames { names, endpoint, credentials } = SecretNames::read(|name| variables.get(name).cloned());
    let malformed = names.iter().filter(|(_, secret)| secret.is_none());
    let mut unusable: Vec<Unusable> = malformed.map(|(variable, _)| Unusable::malformed(variable)).collect();
    let manager = SecretsManager::new(endpoint, credentials.as_ref().map(aws::credentials), clock.clone());
    let names = names.into_iter().filter_map(|(variable, secret)| Some((variable, secret?)));
    let sources = Sources { names: names.collect(), manager, clock: clock.clone() };
    let (read_at_ms, mut variables) = (clock.now_ms(), variables.clone());
    for (variable, value) in sources.read(&sources.named_by(|_| true)).await {
        match value {
            Ok(value) => drop(variables.insert(variable.to_owned(), value)),
            Err(reason) => unusable.push(reason),
        }
    }
    variables.retain(|name, _| !unusable.iter().any(|unusable| unusable.variable == name));
    Resolved { variables, unusable, sources, read_at_ms }
}

impl Resolved {
    /// The configuration of a process that requires the variables in `needed` ([`Config::read`]), and its secrets. All problems are
    /// told at once, each with the name of its secret.
    pub fn configured(self, needed: &[&str], default_origins: Origins) -> Result<(Config, Secrets), ConfigError> {
        let Self { variables, unusable, sources, read_at_ms } = self;
        let read = Config::read(|name| variables.get(name).cloned(), needed, default_origins.clone());
        let mut problems: Vec<String> = unusable.iter().map(ToString::to_string).collect();
        if let Err(ConfigError(found)) = &read {
            // A variable whose value cannot be had is not missing.
            let is_known = |problem: &str| unusable.iter().any(|unusable| unusable.variable == subject(problem));
            problems.extend(found.iter().filter(|problem| !is_known(problem)).map(|problem| sources.named(problem)));
        }
        let config = match read {
            Ok(config) if problems.is_empty() => config,
            _ => return Err(ConfigError(problems)),
        };
        let at_start = Read { at_ms: read_at_ms, is_at_start: true };
        let reads = sources.named_by(|_| true).keys().map(|arn| ((*arn).to_owned(), at_start)).collect();
        let state = State { variables, config: Arc::new(config.clone()), reads };
        let secrets = Secrets(Arc::new(Shared { sources, default_origins, state: Mutex::new(state) }));
        Ok((config, secrets))
    }

    /// The name of the secret that the value of a variable is from.
    pub fn secret_of(&self, variable: &str) -> Option<&str> {
        self.sources.secret_of(variable)
    }

    /// The names of the secrets that were read.
    pub fn secrets(&self) -> Vec<&str> {
        let is_usable = |variable: &str| !self.unusable.iter().any(|unusable| unusable.variable == variable);
        self.sources.named_by(is_usable).values().map(|secret| secret.name.as_str()).collect()
    }
}

impl Sources {
    /// The secrets that these variables name.
    fn named_by(&self, is_wanted: impl Fn(&str) -> bool) -> Different<'_> {
        let wanted = self.names.iter().filter(|(variable, _)| is_wanted(variable));
        wanted.map(|(_, secret)| (secret.arn.as_str(), secret)).collect()
    }

    /// Reads these secrets, all at the same time. The values of all variables that name one of them, so that those of one secret are
    /// of one version.
    async fn read(&self, secrets: &Different<'_>) -> Vec<(&'static str, Result<String, Unusable>)> {
        let reading = secrets.iter().map(|(arn, secret)| async move { (*arn, self.manager.text(secret).await) });
        let texts: HashMap<&str, Result<Secret, Refusal>> = join_all(reading).await.into_iter().collect();
        let read = self.names.iter().filter_map(|&(variable, ref secret)| {
            let value = texts.get(secret.arn.as_str())?.as_ref().map_err(Refusal::clone);
            let value = value.and_then(|text| value_in(text, secret));
            let unusable = |refusal| Unusable { variable, secret: secret.name.clone(), refusal };
            Some((variable, value.map_err(unusable)))
        });
        read.collect()
    }

    /// The name of the secret of a variable.
    fn secret_of(&self, variable: &str) -> Option<&str> {
        let named = self.names.iter().find(|(name, _)| *name == variable);
        named.map(|(_, secret)| secret.name.as_str())
    }

    /// A problem of a variable, with the secret that its value is from.
    fn named(&self, problem: &str) -> String {
        match self.secret_of(subject(problem)) {
            Some(secret) => format!("{problem} (its value is from the secret {secret})"),
            None => problem.to_owned(),
        }
    }
}

/// The variable that a problem is about.
fn subject(problem: &str) -> &str {
    problem.split(' ').next().unwrap_or_default()
}

/// The value that a secret has for a variable.
fn value_in(text: &Secret, SecretName { member, .. }: &SecretName) -> Result<String, Refusal> {
    let value = match member {
        None => text.reveal().to_owned(),
        Some(member) => {
            let object: Map<String, Value> =
                serde_json::from_str(text.reveal()).map_err(|_| Refusal::NotJson(member.clone()))?;
            match object.get(member) {
                Some(Value::String(value)) => value.clone(),
                Some(_) => return Err(Refusal::NotText(member.clone())),
                None => return Err(Refusal::NoMember(member.clone())),
            }
        }
    };
    if value.trim().is_empty() { Err(Refusal::Empty) } else { Ok(value) }
}

/// The secrets of a process. Clones share everything.
#[derive(Clone)]
pub struct Secrets(Arc<Shared>);

struct Shared {
    sources: Sources,
    default_origins: Origins,
    /// Held while secrets are read, so that calls which need them at the same time read them once.
    state: Mutex<State>,
}

struct State {
    /// All variables, with the last values that could be used.
    variables: HashMap<String, String>,
    /// What these configure.
    config: Arc<Config>,
    /// The last read of each secret, by its ARN.
    reads: HashMap<String, Read>,
}

#[derive(Clone, Copy)]
struct Read {
    /// In milliseconds since 1970.
    at_ms: i64,
    is_at_start: bool,
}

impl Read {
    /// Whether it was so long ago. A clock that was set back must not make values last longer.
    fn is_past(self, age: Duration, now_ms: i64) -> bool {
        u128::from(now_ms.abs_diff(self.at_ms)) >= age.as_millis()
    }
}

impl Secrets {
    /// Those by which the database is reached; `None` if no variable names one, as with the others.
    pub fn of_database(&self) -> Option<Renewal> {
        self.of(OF_DATABASE)
    }

    /// Those of the role that `migrate` makes.
    pub fn of_functions_role(&self) -> Option<Renewal> {
        self.of(OF_FUNCTIONS_ROLE)
    }

    /// Those by which Redis is reached.
    pub fn of_redis(&self) -> Option<Renewal> {
        self.of(OF_REDIS)
    }

    /// Those that sign tokens.
    pub fn of_tokens(&self) -> Option<Renewal> {
        self.of(OF_TOKENS)
    }

    /// The same problems, each with the secret that the value of its variable is from.
    pub fn naming(&self, ConfigError(problems): &ConfigError) -> ConfigError {
        ConfigError(problems.iter().map(|problem| self.0.sources.named(problem)).collect())
    }

    fn of(&self, variables: &'static [&'static str]) -> Option<Renewal> {
        let names_any = self.0.sources.names.iter().any(|(variable, _)| variables.contains(variable));
        names_any.then(|| Renewal { secrets: self.clone(), variables })
    }
}

/// Reads some secrets of a process again.
#[derive(Clone)]
pub struct Renewal {
    secrets: Secrets,
    variables: &'static [&'static str],
}

impl Renewal {
    /// The configuration after a server has refused a value of these secrets: with their values as they are now, unless they were
    /// read for that reason a moment ago. Takes 4 s at most.
    pub async fn after_refusal(&self) -> Arc<Config> {
        self.read_if(|read, now_ms| read.is_at_start || read.is_past(AFTER_REFUSAL, now_ms)).await
    }

    /// The configuration with values of these secrets that are younger than `max_age`. Takes 4 s at most, and nothing if no value is
    /// too old.
    pub async fn config(&self, max_age: Duration) -> Arc<Config> {
        self.read_if(|read, now_ms| read.is_past(max_age, now_ms)).await
    }

    /// The configuration after those of these secrets were read again whose last read is too old. A secret that cannot be read keeps
    /// the value that it had, and counts as read.
    async fn read_if(&self, is_too_old: impl Fn(Read, i64) -> bool) -> Arc<Config> {
        let Shared { sources, default_origins, state } = &*self.secrets.0;
        let mut state = state.lock().await;
        let now_ms = sources.clock.now_ms();
        let mut old = sources.named_by(|variable| self.variables.contains(&variable));
        old.retain(|arn, _| state.reads.get(*arn).is_none_or(|read| is_too_old(*read, now_ms)));
        if old.is_empty() {
            return Arc::clone(&state.config);
        }
        let read = sources.read(&old).await;
        let again = Read { at_ms: now_ms, is_at_start: false };
        state.reads.extend(old.keys().map(|arn| ((*arn).to_owned(), again)));
        let mut variables = state.variables.clone();
        for (variable, value) in read {
            match value {
                Ok(value) => drop(variables.insert(variable.to_owned(), value)),
                Err(unusable) => tracing::warn!("{unusable}; its last value is used on"),
            }
        }
        if variables != state.variables {
            match Config::read(|name| variables.get(name).cloned(), &[], default_origins.clone()) {
                Ok(config) => {
                    let changed = changed(&state.variables, &variables).join(", ");
                    tracing::info!("secrets have other values, of {changed}");
                    (state.variables, state.config) = (variables, Arc::new(config));
                }
                Err(ConfigError(problems)) => {
                    for problem in problems {
                        tracing::warn!("{}; the last values are used on", sources.named(&problem));
                    }
                }
            }
        }
        Arc::clone(&state.config)
    }
}

/// The variables whose values differ.
fn changed<'a>(before: &HashMap<String, String>, now: &'a HashMap<String, String>) -> Vec<&'a str> {
    let mut changed: Vec<&str> =
        now.iter().filter(|(name, value)| before.get(*name) != Some(*value)).map(|(name, _)| name.as_str()).collect();
    changed.sort_unstable();
    changed
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("variables", &self.variables).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/database-AbCdEf";
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    async fn resolved(given: &[(&str, &str)]) -> Resolved {
        let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        resolve(&variables.collect(), &Clock::manual(0)).await
    }

    #[tokio::test]
    async fn variables_that_name_no_secret_stay_as_they_are() {
        let resolved = resolved(&[("JWT_SECRET", SECRET), ("DRAIN_FUNCTION", ARN)]).await;
        assert_eq!(resolved.variables["JWT_SECRET"], SECRET);
        assert_eq!((resolved.unusable.len(), resolved.secrets().len()), (0, 0));
        let (config, secrets) = resolved.configured(&["JWT_SECRET"], Origins::Loopback).unwrap();
        assert_eq!((config.jwt_secret, config.drain_function), (Some(Secret::new(SECRET)), Some(ARN.to_owned())));
        let renewals = [secrets.of_database(), secrets.of_functions_role(), secrets.of_redis(), secrets.of_tokens()];
        assert!(renewals.iter().all(Option::is_none));
    }

    #[tokio::test]
    async fn all_problems_are_told_at_once_and_none_twice() {
        let given = [
            ("DATABASE_URL", ARN),
            ("JWT_SECRET", "arn:aws:secretsmanager:hunter2"),
            ("RETENTION_DAYS", "0"),
            ("JWT_SECRET_PREVIOUS", "hunter2"),
        ];
        let needed = ["DATABASE_URL", "JWT_SECRET", "WS_URL"];
        let ConfigError(problems) = resolved(&given).await.configured(&needed, Origins::Loopback).err().unwrap();
        let beginnings = [
            "JWT_SECRET must be the value itself, or name a secret as arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME",
            "DATABASE_URL names the secret shop/database-AbCdEf, which cannot be read without AWS_ACCESS_KEY_ID",
            "WS_URL is required",
            "JWT_SECRET_PREVIOUS must be at least 32 bytes long",
            "RETENTION_DAYS must be",
        ];
        for beginning in beginnings {
            assert!(problems.iter().any(|problem| problem.starts_with(beginning)), "{beginning}: {problems:#?}");
        }
        assert_eq!(problems.len(), beginnings.len(), "{problems:#?}");
        assert!(!problems.join("\n").contains("hunter2"));
    }

    #[test]
    fn a_value_is_the_whole_text_or_a_member_of_it() {
        let value = |text: &str, member: &str| {
            let name = format!("{ARN}{member}");
            let names = SecretNames::read(|variable| (variable == "DATABASE_URL").then(|| name.clone()));
            value_in(&Secret::new(text), names.names[0].1.as_ref().unwrap())
        };
        assert_eq!(value("postgres://h/x\n", ""), Ok("postgres://h/x\n".into()));
        let credentials = r#"{"username":"u","password":"p\"q","port":5432,"":"x"}"#;
        assert_eq!(value(credentials, "#password"), Ok("p\"q".into()));
        let member = "port".to_owned();
        assert_eq!(value(credentials, "#port"), Err(Refusal::NotText(member.clone())));
        assert_eq!(value("{}", "#port"), Err(Refusal::NoMember(member.clone())));
        for text in ["hunter2", "[]", "\"port\"", ""] {
            assert_eq!(value(text, "#port"), Err(Refusal::NotJson(member.clone())), "{text}");
        }
        for (text, member) in [("", ""), (" \n", ""), (r#"{"port":" "}"#, "#port")] {
            assert_eq!(value(text, member), Err(Refusal::Empty), "{text:?}");
        }
    }
}
