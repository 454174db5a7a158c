//! Carillon's functions as processes of their own (`--lambda spawn`): what they need, and their environment.

use std::collections::HashMap;
use std::net::SocketAddr;

use shared::config::{Config, ConfigError, Secret, SecretNames};

use crate::sandboxes::{Log, SandboxError, Sandboxes, Settings, Variables};
use crate::template::{FunctionDefinition, Template};

/// Variables of this process that every function gets too. They are about the machine, so no template has them.
const OF_THE_MACHINE: [&str; 5] = ["PATH", "RUST_BACKTRACE", "RUST_LOG", "SSL_CERT_DIR", "SSL_CERT_FILE"];

/// By what functions read the secrets that their variables name, in place of the credentials that every sandbox has.
const OF_SECRETS: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Refuses stores that belong to one process.
pub(crate) fn check(config: &Config, variables: &HashMap<String, String>) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    if config.database_url.is_none() || config.database_kind() != "postgres" {
        problems.push(
            "DATABASE_URL must begin with postgres:// with --lambda spawn: functions in processes of their own cannot \
             share SQLite"
                .to_owned(),
        );
    }
    let is_without = given(variables, "QUEUE_REDIS_ENABLED").is_some_and(|enabled| enabled == "false");
    if !is_without && given(variables, "REDIS_URL").or_else(|| given(variables, "REDIS_URLS")).is_none() {
        problems.push(
            "REDIS_URL is required with --lambda spawn: functions in processes of their own cannot share memory; \
             QUEUE_REDIS_ENABLED=false runs without Redis"
                .to_owned(),
        );
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
}

/// The value of a parameter of the template: that of the environment variable of its name, as `DATABASE_URL` is of
/// `DatabaseUrl`.
pub(crate) fn parameter(variables: &HashMap<String, String>, name: &str) -> Option<String> {
    let mut variable = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !variable.is_empty() {
            variable.push('_');
        }
        variable.push(character.to_ascii_uppercase());
    }
    given(variables, &variable)
}

/// Prepares the sandboxes of the template's functions for a gateway at this address.
pub(crate) async fn prepare(
    template: &Template,
    settings: &Settings,
    config: &Config,
    variables: &HashMap<String, String>,
    address: SocketAddr,
) -> Result<Sandboxes, SandboxError> {
    let own = of_this_gateway(config, variables, address);
    let variables_of = |function: &FunctionDefinition| variables_of(function, &own, variables);
    Sandboxes::prepare(template, settings.clone(), variables_of, Log::stderr()).await
}

/// What the template cannot know, or knows only of a deployment.
fn of_this_gateway(
    config: &Config,
    variables: &HashMap<String, String>,
    address: SocketAddr,
) -> HashMap<&'static str, String> {
    let port = address.port();
    let own_origins = || format!("http://localhost:{port},http://127.0.0.1:{port}");
    let own = [
        ("ALLOWED_ORIGINS", Some(given(variables, "ALLOWED_ORIGINS").unwrap_or_else(own_origins))),
        ("ENABLE_TEST_ENDPOINTS", Some(config.test_endpoints.to_string())),
        ("ENV", Some(given(variables, "ENV").unwrap_or_else(|| "local".into()))),
        ("EVENTS_URL", config.events_url.clone()),
        // What functions publish on a laptop is no metric of a deployment.
        ("METRICS_NAMESPACE", Some(given(variables, "METRICS_NAMESPACE").unwrap_or_default())),
        ("JWT_SECRET", config.jwt_secret.as_ref().map(Secret::reveal).map(str::to_owned)),
        ("WS_ENDPOINT", config.ws_endpoint.clone()),
        ("WS_URL", config.ws_url.clone()),
    ];
    // What a variable names, functions read themselves.
    let naming = naming_secrets(variables);
    let own = own.into_iter().filter(|(name, _)| !naming.contains(name));
    own.filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The variables that name a secret.
fn naming_secrets(variables: &HashMap<String, String>) -> Vec<&'static str> {
    let SecretNames { names, .. } = SecretNames::read(|name| variables.get(name).cloned());
    names.into_iter().map(|(variable, _)| variable).collect()
}

/// The variables that the template gives a function. Their values are those of this gateway, else those of the
/// environment, else those of the template.
fn variables_of(
    function: &FunctionDefinition,
    own: &HashMap<&'static str, String>,
    variables: &HashMap<String, String>,
) -> Result<Variables, SandboxError> {
    let of_the_machine =
        OF_THE_MACHINE.iter().filter_map(|name| Some(((*name).to_owned(), variables.get(*name)?.clone())));
    let of_secrets: &[&str] = if naming_secrets(variables).is_empty() { &[] } else { &OF_SECRETS };
    let of_secrets = of_secrets.iter().map(|name| ((*name).to_owned(), given(variables, name).unwrap_or_default()));
    let of_the_template = function.environment.iter().map(|(name, value)| {
        let value = own.get(name.as_str()).cloned().or_else(|| given(variables, name)).or_else(|| value.clone());
        let value =
            value.ok_or_else(|| SandboxError::NoValue { function: function.name.clone(), variable: name.clone() })?;
        Ok((name.clone(), value))
    });
    of_the_machine.chain(of_secrets).map(Ok).chain(of_the_template).collect()
}

/// A variable that is set. An empty one counts as missing.
fn given(variables: &HashMap<String, String>, name: &str) -> Option<String> {
    variables.get(name).filter(|value| !value.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use shared::config::Origins;

    use super::*;

    fn variables(given: &[(&str, &str)]) -> HashMap<String, String> {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn config(variables: &HashMap<String, String>) -> Config {
        Config::read(|name| variables.get(name).cloned(), &[], Origins::Loopback).unwrap()
    }

    #[test]
    fn stores_of_one_process_are_refused() {
        let problems = |given: &[(&str, &str)]| {
            let variables = variables(given);
            check(&config(&variables), &variables).err().map_or(0, |ConfigError(problems)| problems.len())
        };
        let (database, redis) = (("DATABASE_URL", "postgres://h/x"), ("REDIS_URL", "redis://h"));
        assert_eq!(problems(&[]), 2);
        assert_eq!(problems(&[("DATABASE_URL", "sqlite:///x"), redis]), 1);
        assert_eq!(problems(&[database]), 1);
        assert_eq!(problems(&[database, ("REDIS_HOST", "h")]), 1);
        for redis in [redis, ("REDIS_URLS", "redis://a,redis://b"), ("QUEUE_REDIS_ENABLED", "false")] {
            assert_eq!(problems(&[database, redis]), 0, "{redis:?}");
        }
    }

    #[test]
    fn a_parameter_is_the_variable_of_its_name() {
        let variables = variables(&[("CACHE_MESSAGES_TTL_S", "60"), ("ENV", "test"), ("REDIS_URL", "")]);
        let value = |name: &str| parameter(&variables, name);
        assert_eq!((value("CacheMessagesTtlS").as_deref(), value("Env").as_deref()), (Some("60"), Some("test")));
        assert_eq!((value("RedisUrl"), value("DatabaseUrl")), (None, None));
    }

    #[test]
    fn a_function_gets_the_variables_of_the_template_with_the_values_of_this_gateway() {
        let environment = [
            ("ENV", Some("production")),
            ("JWT_SECRET", Some("")),
            ("WS_URL", Some("wss://example.com")),
            ("RETENTION_DAYS", Some("90")),
            ("REDIS_URL", None),
            ("ALLOWED_ORIGINS", None),
        ];
        let environment: BTreeMap<_, _> =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
        let function = FunctionDefinition {
            logical_id: "send".into(),
            name: "send".into(),
            binary: None,
            timeout: Duration::from_secs(1),
            memory_mb: 128,
            reserved_concurrency: None,
            environment,
        };
        let secret = "0123456789abcdef0123456789abcdef";
        let mut variables = variables(&[
            ("PATH", "/bin"),
            ("REDIS_URL", "redis://h"),
            ("RATE_LIMIT_SEND", "1/1s"),
            ("JWT_ENCRYPTION_KEY", secret),
            ("WS_URL", "ws://127.0.0.1:7/live"),
        ]);
        let own = of_this_gateway(&config(&variables), &variables, ([127, 0, 0, 1], 7).into());
        let found: BTreeMap<_, _> = variables_of(&function, &own, &variables).unwrap().into_iter().collect();
        let expected = [
            ("ALLOWED_ORIGINS", "http://localhost:7,http://127.0.0.1:7"),
            ("ENV", "local"),
            ("JWT_SECRET", secret),
            ("PATH", "/bin"),
            ("REDIS_URL", "redis://h"),
            ("RETENTION_DAYS", "90"),
            ("WS_URL", "ws://127.0.0.1:7/live"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:jwt-AbCdEf";
        variables.extend([("JWT_SECRET", arn), ("AWS_ACCESS_KEY_ID", "id")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        let own = of_this_gateway(&config(&variables), &variables, ([127, 0, 0, 1], 7).into());
        let found: BTreeMap<_, _> = variables_of(&function, &own, &variables).unwrap().into_iter().collect();
        assert_eq!((found["JWT_SECRET"].as_str(), found["AWS_ACCESS_KEY_ID"].as_str()), (arn, "id"));
        // A token of another role would make the signature invalid.
        assert_eq!(found["AWS_SESSION_TOKEN"], "");

        variables.remove("REDIS_URL");
        let error = variables_of(&function, &own, &variables).unwrap_err().to_string();
        assert_eq!(error, "send: the template gives REDIS_URL no value: set it in the environment");
    }
}
