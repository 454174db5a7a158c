//! What a server says about itself, and whether its setup could lose what we keep in it.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, from_redis_value};

use super::steps::pipe;
use crate::telemetry::health::Role;

/// The oldest version that is tested.
const MIN_MAJOR_VERSION: u32 = 7;

/// Why an operator should look at this server; `None` if it is fine, or if the access list forbids `INFO`.
pub(crate) async fn warning(connection: &mut MultiplexedConnection) -> RedisResult<Option<String>> {
    Ok(parse_warning(&info(connection, ["server", "memory"]).await?))
}

/// The server's role and its memory use in bytes; `None` for what it does not say.
pub(crate) async fn role_and_memory(
    connection: &mut MultiplexedConnection,
) -> RedisResult<(Option<Role>, Option<u64>)> {
    Ok(parse_role_and_memory(&info(connection, ["replication", "memory"]).await?))
}

/// Sections of `INFO` that the access list allows, with one command each: before 7.0 it takes one section.
async fn info(connection: &mut MultiplexedConnection, sections: [&str; 2]) -> RedisResult<String> {
    let commands = sections.map(|section| {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        command
    });
    let mut info = String::new();
    for section in pipe(connection, commands).await? {
        if let Some(text) = section.ok().and_then(|section| from_redis_value::<String>(section).ok()) {
            info.push_str(&text);
            info.push('\n');
        }
    }
    Ok(info)
}

fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim().split_once(':')).collect()
}

fn parse_role_and_memory(info: &str) -> (Option<Role>, Option<u64>) {
    let fields = fields(info);
    let role = fields.get("role").and_then(|role| match *role {
        "master" => Some(Role::Primary),
        "slave" => Some(Role::Replica),
        _ => None,
    });
    (role, fields.get("used_memory").and_then(|bytes| bytes.parse().ok()))
}

fn parse_warning(info: &str) -> Option<String> {
    let fields = fields(info);
    let mut warnings = Vec::new();
    if let Some(version) = fields.get("redis_version") {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < MIN_MAJOR_VERSION) {
            warnings.push(format!("Redis {version} is older than {MIN_MAJOR_VERSION}.0"));
        }
    }
    let is_bounded = fields.get("maxmemory").is_some_and(|bytes| *bytes != "0");
    if let Some(policy) = fields.get("maxmemory_policy")
        && *policy != "noeviction"
        && is_bounded
    {
        warnings.push(format!("maxmemory-policy is {policy}, which evicts keys: it should be noeviction"));
    }
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_and_memory_are_read_if_the_server_says_them() {
        for (info, expected) in [
            ("role:master\r\nused_memory:1048576\r\nused_memory_rss:7", (Some(Role::Primary), Some(1_048_576))),
            ("role:slave\r\nmaster_host:10.0.0.1", (Some(Role::Replica), None)),
            ("role:sentinel\r\nused_memory:much", (None, None)),
            ("", (None, None)),
        ] {
            assert_eq!(parse_role_and_memory(info), expected, "{info}");
        }
    }

    #[test]
    fn an_old_server_and_one_that_evicts_keys_cause_a_warning() {
        let info = |version: &str, bytes: u32, policy: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\n# Memory\r\nmaxmemory:{bytes}\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        for fine in [info("7.0.15", 0, "allkeys-lru"), info("8.2.1", 1_000, "noeviction"), String::new(), "?".into()] {
            assert_eq!(parse_warning(&fine), None, "{fine}");
        }
        let old = parse_warning(&info("6.2.14", 0, "noeviction")).unwrap();
        assert!(old.contains("6.2.14") && old.contains("7.0"), "{old}");
        let drops = parse_warning(&info("7.2.4", 1_000, "volatile-lru")).unwrap();
        assert!(drops.contains("volatile-lru"), "{drops}");
        let both = parse_warning(&info("6.0.0", 1_000, "allkeys-lru")).unwrap();
        assert!(both.contains("6.0.0") && both.contains("allkeys-lru"), "{both}");
    }
}
