//! Which code may name what. To allow a name in one more place, add the place to `only_in`, with the reason.

use crate::places::Rule;
use crate::tree::{self, Text};

const SOURCES: [&str; 3] = ["shared/src/", "functions/", "gateway/src/"];
/// The stores and clients that implement traits: how their module is named in a path, and where it is.
const STORES: [(&str, &str); 8] = [
    ("::sqlite", "shared/src/record/sqlite/"),
    ("::postgres", "shared/src/record/postgres/"),
    ("::memory", "shared/src/moment/memory/"),
    ("::redis", "shared/src/moment/redis/"),
    ("::moment::none", "shared/src/moment/none.rs"),
    ("::sockets::api_gateway", "shared/src/sockets/api_gateway.rs"),
    ("::delivery::lambda", "shared/src/delivery/lambda.rs"),
    ("::web_push::http_service", "shared/src/web_push/http_service.rs"),
];
/// Where apps are assembled: the only code that may choose a store.
const ASSEMBLIES: [&str; 6] = [
    "shared/src/function/stores.rs",
    // It asks each store about itself.
    "shared/src/function/doctor.rs",
    "gateway/src/handlers.rs",
    "gateway/src/local.rs",
    // The whole purpose of each is one store.
    "functions/migrate/src/lib.rs",
    "gateway/src/keys.rs",
];

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A rule for names that may be used in a few places only.
fn only(what: &str, why: &'static str, names: &[&str], only_in: &[&str], broken_by: &str) -> Rule {
    Rule {
        what: what.into(),
        why,
        names: owned(names),
        within: owned(&SOURCES),
        only_in: owned(only_in),
        broken_by: broken_by.into(),
    }
}

fn rules() -> Vec<Rule> {
    let mut rules = single_places();
    rules.extend(stores());
    rules.extend(functions());
    rules
}

/// Names that are used in one place each.
fn single_places() -> Vec<Rule> {
    vec![
        only(
            "SQL appears only in the stores",
            "the contract suite does not compare statements elsewhere",
            &["sqlx"],
            &["shared/src/record/"],
            "use sqlx::Row;",
        ),
        only(
            "only the SQLite store opens SQLite files",
            "each statement blocks its thread, and the store has threads for that",
            &["rusqlite"],
            &["shared/src/record/sqlite/"],
            "use rusqlite::Row;",
        ),
        only(
            "only the Redis store uses a Redis client",
            "keys and scripts are one format, so they change together",
            &["redis", "fred"],
            &["shared/src/moment/redis/"],
            "fn f() { redis::cmd(\"GET\"); }",
        ),
        Rule {
            within: owned(&["shared/src/moment/redis/"]),
            ..only(
                "every Redis command that names a key goes through a `Step`, which knows the key's partition",
                "a command without a partition cannot be sent to the right instance of several",
                &[
                    "redis::cmd",
                    "redis::Cmd",
                    "redis::pipe",
                    "redis::Pipeline",
                    "redis::Script",
                    "redis::AsyncCommands",
                    "redis::Commands",
                ],
                &["shared/src/moment/redis/steps.rs", "shared/src/moment/redis/setup.rs"],
                "fn f() { redis::cmd(\"GET\").arg(\"name\"); }",
            )
        },
        only(
            "the environment is read by `config`, by the gateway's main.rs, and in build scripts",
            "a variable read elsewhere is neither checked at start nor documented",
            &["std::env"],
            &["shared/src/config/", "gateway/src/main.rs", "functions/*/build.rs"],
            "use std::{env as e, fmt}; fn f() { e::var(\"A\"); }",
        ),
        only(
            "the present time comes from the clock",
            "tests cannot set any other",
            &[
                "std::time::SystemTime",
                "::OffsetDateTime::now_utc",
                "::OffsetDateTime::now_local",
                "::UtcDateTime::now",
                "::Utc::now",
                "::Local::now",
                "::Timestamp::now",
                "::Zoned::now",
            ],
            &["shared/src/clock.rs"],
            "fn f() { time::OffsetDateTime::now_utc(); }",
        ),
        only(
            "only the main.rs of a function knows that it runs on Lambda",
            "the gateway and the tests call the same handlers",
            &["lambda_runtime", "lambda_http::run", "::lambda_http::lambda_runtime"],
            // The gateway plays the part of Lambda, including the form of its errors.
            &["functions/*/src/main.rs", "gateway/src/in_process.rs"],
            "use lambda_http::{Request, run};",
        ),
        only(
            "logging is set up where a process begins",
            "a second subscriber is silently ignored",
            &["tracing_subscriber"],
            &[
                "shared/src/function/process.rs",
                "gateway/src/main.rs",
                // What exports spans is a layer of the same subscriber.
                "shared/src/telemetry/otlp.rs",
                "shared/src/telemetry/no_otlp.rs",
            ],
            "fn f() { tracing_subscriber::fmt(); }",
        ),
        Rule {
            within: owned(&["shared/src/", "functions/"]),
            ..only(
                "status codes appear only in reply.rs",
                "one match decides how each error is reported",
                &["::StatusCode"],
                &["shared/src/http/reply.rs"],
                "fn f() { http::StatusCode::OK; }",
            )
        },
    ]
}

/// Each store is named only by itself and where apps are assembled, so stores do not know each other either.
fn stores() -> Vec<Rule> {
    let rule = |(name, own): (&str, &str)| Rule {
        what: format!("{own} is named by itself and where apps are assembled"),
        why: "code that knows its store works with no other, and a store that uses another cannot be replaced",
        names: owned(&[name]),
        within: owned(&SOURCES),
        only_in: owned(&[own]).into_iter().chain(owned(&ASSEMBLIES)).collect(),
        broken_by: format!("use crate{name}::Store;"),
    };
    STORES.into_iter().map(rule).collect()
}

/// Functions import `shared` and never one another; `shared` imports none of them.
fn functions() -> Vec<Rule> {
    let functions = tree::folders_in("functions");
    let others = |own: &str| -> Vec<String> {
        let others = functions.iter().filter(|name| *name != own).cloned();
        others.chain(["gateway".into(), "harness".into()]).collect()
    };
    let why = "functions are deployed separately, and common code belongs in `shared`";
    let rule = |own: &str, within: String| Rule {
        what: format!("{own} names no other function and no gateway"),
        why,
        names: others(own),
        within: vec![within],
        only_in: Vec::new(),
        broken_by: format!("use {}::handle;", others(own)[0]),
    };
    let mut rules: Vec<Rule> = functions.iter().map(|own| rule(own, format!("functions/{own}/"))).collect();
    rules.push(rule("shared", "shared/src/".into()));
    rules
}

#[test]
fn every_name_is_used_only_where_it_may() {
    let sources = tree::rust_under(&SOURCES.map(|folder| folder.trim_end_matches('/')));
    let mut breaches = Vec::new();
    for rule in &rules() {
        for source in &sources {
            breaches.extend(rule.breaches(source).iter().map(ToString::to_string));
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn every_rule_and_every_exception_is_about_files_that_exist() {
    let sources = tree::rust_under(&SOURCES.map(|folder| folder.trim_end_matches('/')));
    for rule in &rules() {
        assert!(sources.iter().any(|source| rule.covers(&source.path)), "{}", rule.what);
        for place in &rule.only_in {
            assert!(sources.iter().any(|source| Rule::is_in(&source.path, place)), "{place}: {}", rule.what);
        }
    }
}

#[test]
fn every_rule_reports_code_that_breaks_it() {
    for rule in &rules() {
        let place = |pattern: &str| match pattern.strip_suffix('/') {
            Some(folder) => format!("{}/new.rs", folder.replace('*', "new")),
            None => pattern.replace('*', "new"),
        };
        for within in &rule.within {
            let path = place(within);
            if !rule.covers(&path) {
                continue;
            }
            let text = format!("//! A file.\n\n{}\n", rule.broken_by);
            let source = Text { path, text };
            let breaches = rule.breaches(&source);
            assert!(!breaches.is_empty(), "{} in {}", rule.what, source.path);
            assert_eq!(breaches[0].line, 3);
            let told = breaches[0].to_string();
            let prefix = format!("{}:3 names ", source.path);
            assert!(told.starts_with(&prefix) && told.contains(&rule.what), "{told}");
        }
        for allowed in &rule.only_in {
            let source = Text { path: place(allowed), text: rule.broken_by.clone() };
            assert!(rule.breaches(&source).is_empty(), "{allowed}");
        }
        let source = Text {
            path: place(&rule.within[0]),
            text: format!("// {0}\n#[cfg(test)]\nmod tests {{ {0} }}", rule.broken_by),
        };
        assert!(rule.breaches(&source).is_empty(), "reported in a comment or a test: {}", rule.what);
    }
}
