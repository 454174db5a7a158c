//! The secrets that variables name in place of their values. They are read at start, all at the same time, and again when a value
//! was refused or has been used for long. A call that needs a newer value reads it, since a function has no background tasks.

mod refusal;
mod secrets_manager;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

pub use self::refusal::{Refusal, Unusable};
use self::secrets_manager::SecretsManager;
use crate::aws;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Origins, Secret, SecretName, SecretNames};

/// The shortest time between two reads of a secret because a server has refused its value. The read at start does not count. A
/// server that refuses whatever it is given must not cost a call of Secrets Manager for each call of ours.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// How long reading takes at most, with all repeats.
const MAX_READING: Duration = Duration::from_secs(5);

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

/// Reads every secret that these variables name, each once. Asks nothing if they name none. Each read takes 4.1 s at most, with its repeat.
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
        let secrets = Secrets(Arc::new(Shared {
            sources,
            default_origins,
            state: Mutex::new(state),
            reading: Default::default(),
        }));
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
    state: Mutex<State>,
    /// Of each [`Group`]: held while its secrets are read, so that calls which need them at the same time read them once.
    reading: [Arc<AsyncMutex<()>>; 4],
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
    /// When it began, in milliseconds since 1970.
    at_ms: i64,
    is_at_start: bool,
}

/// Secrets that are read again for the same reason.
#[derive(Debug, Clone, Copy)]
enum Group {
    Database,
    FunctionsRole,
    Redis,
    Tokens,
}

impl Group {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Database => &["DATABASE_URL", "DATABASE_PASSWORD"],
            Self::FunctionsRole => &["FUNCTIONS_DATABASE_URL", "FUNCTIONS_DATABASE_PASSWORD"],
            Self::Redis => &["REDIS_URL", "REDIS_URLS", "REDIS_USERNAME", "REDIS_PASSWORD"],
            Self::Tokens => &["JWT_SECRET", "JWT_ENCRYPTION_KEY", "JWT_SECRET_PREVIOUS"],
        }
    }
}

/// Which values are too old.
#[derive(Clone, Copy)]
struct TooOld {
    /// Those that were read so long ago.
    age: Duration,
    /// Whether those of the start are, too, whatever their age.
    are_of_start: bool,
}

impl TooOld {
    /// A clock that was set back must not make values last longer.
    fn is(self, read: Read, now_ms: i64) -> bool {
        let is_past = u128::from(now_ms.abs_diff(read.at_ms)) >= self.age.as_millis();
        is_past || (self.are_of_start && read.is_at_start)
    }
}

impl Secrets {
    /// Those by which the database is reached; `None` if no variable names one, as with the others.
    pub fn of_database(&self) -> Option<Renewal> {
        self.of(Group::Database)
    }

    /// Those of the role that `migrate` makes.
    pub fn of_functions_role(&self) -> Option<Renewal> {
        self.of(Group::FunctionsRole)
    }

    /// Those by which Redis is reached.
    pub fn of_redis(&self) -> Option<Renewal> {
        self.of(Group::Redis)
    }

    /// Those that sign tokens.
    pub fn of_tokens(&self) -> Option<Renewal> {
        self.of(Group::Tokens)
    }

    /// The same problems, each with the secret that the value of its variable is from.
    pub fn naming(&self, ConfigError(problems): &ConfigError) -> ConfigError {
        ConfigError(problems.iter().map(|problem| self.0.sources.named(problem)).collect())
    }

    fn of(&self, group: Group) -> Option<Renewal> {
        let names_any = self.0.sources.names.iter().any(|(variable, _)| group.variables().contains(variable));
        names_any.then(|| Renewal { secrets: self.clone(), group })
    }

    /// A panic while the lock was held left what was known.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads some secrets of a process again. A read takes 5 s at most, and so does waiting for one that is under way.
#[derive(Clone)]
pub struct Renewal {
    secrets: Secrets,
    group: Group,
}

impl Renewal {
    /// The configuration after a server has refused a value of these secrets: with their values as they are now, unless they were
    /// read for that reason a moment ago. Waits for a read that is under way.
    pub async fn after_refusal(&self) -> Arc<Config> {
        self.newer(TooOld { age: AFTER_REFUSAL, are_of_start: true }).await
    }

    /// The configuration with values of these secrets that are younger than `max_age`. Waits for a read that is under way, and for
    /// nothing if no value is too old.
    pub async fn younger_than(&self, max_age: Duration) -> Arc<Config> {
        self.newer(TooOld { age: max_age, are_of_start: false }).await
    }

    /// The configuration with the values that are known, after those which are older than `max_age` were read again, unless another
    /// call is reading them.
    pub async fn known(&self, max_age: Duration) -> Arc<Config> {
        let too_old = TooOld { age: max_age, are_of_start: false };
        match self.reading().try_lock_owned() {
            Ok(reading) if self.has_old(too_old) => drop(self.read(too_old, reading).await),
            _ => {}
        }
        self.config()
    }

    /// The configuration with these secrets as they are now.
    ///
    /// # Errors
    ///
    /// Says of which variable the value cannot be had or used.
    pub async fn present(&self) -> Result<Arc<Config>, ConfigError> {
        let reading = self.reading().lock_owned().await;
        let problems = self.read(TooOld { age: Duration::ZERO, are_of_start: true }, reading).await;
        if problems.is_empty() { Ok(self.config()) } else { Err(ConfigError(problems)) }
    }

    async fn newer(&self, too_old: TooOld) -> Arc<Config> {
        if self.has_old(too_old) {
            let reading = self.reading().lock_owned().await;
            self.read(too_old, reading).await;
        }
        self.config()
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.secrets.state().config)
    }

    fn reading(&self) -> Arc<AsyncMutex<()>> {
        Arc::clone(&self.secrets.0.reading[self.group as usize])
    }

    fn has_old(&self, too_old: TooOld) -> bool {
        !self.old(&self.secrets.state(), too_old).is_empty()
    }

    /// Those of these secrets that are too old.
    fn old(&self, state: &State, too_old: TooOld) -> Different<'_> {
        let sources = &self.secrets.0.sources;
        let now_ms = sources.clock.now_ms();
        let mut old = sources.named_by(|variable| self.group.variables().contains(&variable));
        old.retain(|arn, _| state.reads.get(*arn).is_none_or(|read| too_old.is(*read, now_ms)));
        old
    }

    /// Reads those that are too old. Goes on if its caller does not wait for it, so that it counts; a value that cannot be had or
    /// used keeps the one before. Returns the problems.
    async fn read(&self, too_old: TooOld, reading: OwnedMutexGuard<()>) -> Vec<String> {
        let renewal = self.clone();
        let read = tokio::spawn(async move {
            let _reading = reading;
            renewal.read_alone(too_old).await
        });
        read.await.unwrap_or_else(|_| vec!["reading secrets has failed".to_owned()])
    }

    async fn read_alone(&self, too_old: TooOld) -> Vec<String> {
        let sources = &self.secrets.0.sources;
        let old = self.old(&self.secrets.state(), too_old);
        if old.is_empty() {
            return Vec::new();
        }
        let read_now = Read { at_ms: sources.clock.now_ms(), is_at_start: false };
        let mut problems = Vec::new();
        match tokio::time::timeout(MAX_READING, sources.read(&old)).await {
            Ok(read) => {
                for (variable, value) in read {
                    match value {
                        Ok(value) => problems.extend(self.take(variable, value)),
                        Err(unusable) => problems.push(unusable.to_string()),
                    }
                }
            }
            Err(_) => problems.extend(old.values().map(|secret| format!("{} could not be read in time", secret.name))),
        }
        // Only now, after the values were taken: a call that finds a recent read does not wait, and uses the values that are known.
        self.secrets.state().reads.extend(old.keys().map(|arn| ((*arn).to_owned(), read_now)));
        for problem in &problems {
            tracing::warn!("{problem}; the last value is used on");
        }
        problems
    }

    /// Uses another value of a variable, or says why it cannot be used.
    fn take(&self, variable: &str, value: String) -> Vec<String> {
        let Shared { sources, default_origins, .. } = &*self.secrets.0;
        let mut state = self.secrets.state();
        if state.variables.get(variable) == Some(&value) {
            return Vec::new();
        }
        let mut variables = state.variables.clone();
        variables.insert(variable.to_owned(), value);
        match Config::read(|name| variables.get(name).cloned(), &[], default_origins.clone()) {
            Ok(config) => {
                tracing::info!("{variable} has another value");
                (state.variables, state.config) = (variables, Arc::new(config));
                Vec::new()
            }
            Err(ConfigError(problems)) => problems.iter().map(|problem| sources.named(problem)).collect(),
        }
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("group", &self.group).finish_non_exhaustive()
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
