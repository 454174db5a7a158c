//! `carillon doctor`: what is wrong with the configuration of this machine or of a deployment, and what to do.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use shared::clock::Clock;
use shared::config::Config;
use shared::doctor::extent::Extent;
use shared::doctor::finding::{Finding, State};
use shared::doctor::remedies;
use shared::function;
use shared::function::doctor::Examined;

use crate::local::{self, VAPID_FILE};
use crate::vapid;

/// How a file of SQLite begins.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// All findings.
pub struct Examination {
    /// In the order in which they are told.
    pub findings: Vec<Finding>,
    /// Whether a start accepts the variables.
    pub is_config_valid: bool,
}

impl Examination {
    /// Whether something has to be done.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.state == State::Problem)
    }

    /// A line for each finding, what to do about it, and how many there are.
    pub fn text(&self) -> String {
        let counted = |state: State, noun: &str| {
            let count = self.findings.iter().filter(|finding| finding.state == state).count();
            format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
        };
        let lines: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        let counts = [counted(State::Problem, "problem"), counted(State::Warning, "warning")];
        format!("{}\n\n{}", lines.join("\n"), counts.join(", "))
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        serde_json::json!({ "healthy": !self.has_problems(), "findings": self.findings }).to_string()
    }
}

/// Examines the variables, what they name, and what is in the data folder in their place. Changes nothing.
pub async fn examine(variables: &HashMap<String, String>, data: &Path) -> Examination {
    let clock = Clock::system();
    let examined = function::doctor::of_variables(variables, Extent::Deployment, &clock).await;
    let Examined { config, found: mut findings, are_valid: mut is_config_valid } = examined;
    if let Err(error) = local::port(variables) {
        is_config_valid = false;
        let text = error.to_string();
        let (name, required) = text.split_once(' ').unwrap_or((text.as_str(), "cannot be used"));
        findings.push(Finding::problem(name, required, remedies::of(name)));
    }
    if let Some(config) = &config {
        findings.extend(function::doctor::of_config(config, &clock).await);
        // What stands in place of a variable that cannot be used says nothing.
        let has_problem = |prefix: &str| {
            findings.iter().any(|finding| finding.state == State::Problem && finding.check.starts_with(prefix))
        };
        let found = in_place_of_servers(config, data, has_problem);
        findings.extend(found);
    }
    Examination { findings, is_config_valid }
}

/// What a local gateway uses where no variable names anything: files of the data folder, and its memory.
fn in_place_of_servers(config: &Config, data: &Path, has_problem: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    match &config.database_url {
        Some(url) if !url.reveal().starts_with("sqlite://") => {}
        None if has_problem("DATABASE_URL") => {}
        _ => found.push(of_sqlite(&sqlite_file(config, data))),
    }
    if config.redis.is_none() && !has_problem("REDIS_") {
        found.push(Finding::ok("redis", "none is configured: a local gateway keeps the moment in its memory"));
    }
    if config.jwks_url.is_none() && !has_problem("JWT_") {
        found.push(of_secret(config, data));
    }
    if config.vapid.is_none() && !has_problem("VAPID_") {
        found.push(of_vapid(&data.join(VAPID_FILE)));
    }
    if config.ws_endpoint.is_none() {
        found.push(Finding::ok("sockets", "WS_ENDPOINT is not set: a local gateway pushes to its own sockets"));
    }
    found
}

fn sqlite_file(config: &Config, data: &Path) -> PathBuf {
    let url = config.database_url.as_ref().and_then(|url| url.reveal().strip_prefix("sqlite://"));
    url.filter(|file| !file.is_empty()).map_or_else(|| data.join("carillon.db"), PathBuf::from)
}

/// Looks at the file without opening it as a database: a gateway that runs has a lock on it.
fn of_sqlite(file: &Path) -> Finding {
    const CHECK: &str = "database";
    let mut header = Vec::new();
    let read = fs::File::open(file).and_then(|opened| opened.take(SQLITE_HEADER.len() as u64).read_to_end(&mut header));
    let shown = file.display();
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(CHECK, format!("SQLite, which the first start makes in {shown}"))
        }
        Err(error) => {
            Finding::problem(CHECK, format!("{shown} cannot be read: {error}"), "give this user the right to it")
        }
        Ok(_) if !header.is_empty() && header != SQLITE_HEADER => Finding::problem(
            CHECK,
            format!("{shown} is not a SQLite database"),
            "move the file away, or name another folder with --data",
        ),
        Ok(_) if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().readonly()) => {
            Finding::problem(CHECK, format!("{shown} is read-only"), "give this user the right to write it")
        }
        Ok(_) => Finding::ok(CHECK, format!("SQLite in {shown}")),
    }
}

fn of_secret(config: &Config, data: &Path) -> Finding {
    const CHECK: &str = "tokens";
    let file = data.join("jwt-secret");
    if config.jwt_secret.is_some() {
        return Finding::ok(CHECK, "JWT_SECRET signs and verifies them");
    }
    if !file.exists() {
        return Finding::ok(CHECK, format!("the first start makes a secret in {}", file.display()));
    }
    match local::existing_secret(config, data) {
        Ok(_) => Finding::ok(CHECK, format!("the secret in {} signs them", file.display())),
        Err(error) => {
            Finding::problem(CHECK, error.to_string(), "delete the file to have another one made, or set JWT_SECRET")
        }
    }
}

fn of_vapid(file: &Path) -> Finding {
    const CHECK: &str = "web push";
    if !file.exists() {
        return Finding::ok(CHECK, format!("the first start makes keys in {}", file.display()));
    }
    match vapid::local_keys(file) {
        Ok(_) => Finding::ok(CHECK, format!("the keys in {} can be used", file.display())),
        Err(error) => Finding::problem(
            CHECK,
            format!("the keys in {} cannot be used: {error}", file.display()),
            "restore the file; if it is lost, delete it, and every browser has to subscribe anew",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn examined(given: &[(&str, &str)], data: &Path) -> Examination {
        let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        examine(&variables.collect(), data).await
    }

    #[tokio::test]
    async fn a_laptop_without_variables_is_healthy_before_its_first_start_and_is_left_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        let examination = examined(&[], data.path()).await;
        let text = examination.text();
        assert!(!examination.has_problems() && examination.is_config_valid, "{text}");
        assert!(text.ends_with("\n\n0 problems, 0 warnings"), "{text}");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn files_of_the_data_folder_that_cannot_be_used_are_named() {
        let data = tempfile::tempdir().unwrap();
        for (file, content) in [("carillon.db", "hunter2"), ("jwt-secret", "hunter2"), (VAPID_FILE, "hunter2")] {
            fs::write(data.path().join(file), content).unwrap();
            let examination = examined(&[], data.path()).await;
            let problems = examination.findings.iter().filter(|finding| finding.state == State::Problem);
            assert!(problems.clone().any(|finding| finding.what.contains(file)), "{file}: {}", examination.text());
            assert!(problems.clone().all(|finding| !finding.what.contains("hunter2")), "{file}");
        }
    }

    #[tokio::test]
    async fn a_variable_that_cannot_be_used_makes_the_configuration_invalid() {
        let data = tempfile::tempdir().unwrap();
        let examination = examined(&[("JWT_SECRET", "hunter2"), ("PORT", "hunter2")], data.path()).await;
        assert!(examination.has_problems() && !examination.is_config_valid);
        let json: serde_json::Value = serde_json::from_str(&examination.json()).unwrap();
        assert_eq!(json["healthy"], false);
        let checks: Vec<&str> =
            json["findings"].as_array().unwrap().iter().filter_map(|f| f["check"].as_str()).collect();
        assert!(checks.contains(&"JWT_SECRET") && checks.contains(&"PORT"), "{checks:?}");
        assert!(!examination.json().contains("hunter2"), "{}", examination.json());
    }
}
