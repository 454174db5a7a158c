//! Who may name what. A new place is one more line in `only_in`, and a reason.

use crate::places::Rule;
use crate::tree::{self, Text};

const SOURCES: [&str; 3] = ["shared/src/", "functions/", "gateway/src/"];
/// The stores: what keeps a promise, by the name that its module has in a path, and where it is.
const STORES: [(&str, &str); 7] = [
    ("::sqlite", "shared/src/record/sqlite/"),
    ("::postgres", "shared/src/record/postgres/"),
    ("::memory", "shared/src/moment/memory/"),
    ("::redis", "shared/src/moment/redis/"),
    ("::moment::none", "shared/src/moment/none.rs"),
    ("::sockets::api_gateway", "shared/src/sockets/api_gateway.rs"),
    ("::delivery::lambda", "shared/src/delivery/lambda.rs"),
];
/// Where apps are assembled: the only code that may choose a store.
const ASSEMBLIES: [&str; 4] = [
    "shared/src/function/stores.rs",
    "gateway/src/handlers.rs",
    "gateway/src/local.rs",
    // Its whole purpose is one store.
    "functions/migrate/src/lib.rs",
];

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A rule for names that have one home.
fn home(what: &str, why: &'static str, names: &[&str], only_in: &[&str], broken_by: &str) -> Rule {
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
    let mut rules = homes();
    rules.extend(stores());
    rules.extend(functions());
    rules
}

/// What has one home each.
fn homes() -> Vec<Rule> {
    vec![
        home(
            "SQL stands in the stores that speak it",
            "a statement elsewhere is one that the twins do not keep alike",
            &["sqlx"],
            &["shared/src/record/"],
            "use sqlx::Row;",
        ),
        home(
            "Redis is spoken to in one place",
            "keys and scripts are a format, and a format has one home",
            &["redis", "fred"],
            &["shared/src/moment/redis/"],
            "fn f() { redis::cmd(\"GET\"); }",
        ),
        home(
            "the environment is read by config.rs, by the gateway's main.rs, and where cargo builds",
            "a variable read elsewhere is neither checked at start nor documented",
            &["std::env"],
            &["shared/src/config/", "gateway/src/main.rs", "functions/*/build.rs"],
            "use std::{env as e, fmt}; fn f() { e::var(\"A\"); }",
        ),
        home(
            "the present time comes from the clock",
            "a test cannot turn any other",
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
        home(
            "only a function's main.rs knows that it runs on Lambda, and who stands in for it",
            "the same handler serves the gateway and the tests",
            &["lambda_runtime", "lambda_http::run", "::lambda_http::lambda_runtime"],
            // The gateway stands in for Lambda, down to the form of its errors.
            &["functions/*/src/main.rs", "gateway/src/in_process.rs"],
            "use lambda_http::{Request, run};",
        ),
        home(
            "logging is set up where a process begins",
            "a second subscriber is dropped in silence",
            &["tracing_subscriber"],
            &["shared/src/function/mod.rs", "gateway/src/main.rs"],
            "fn f() { tracing_subscriber::fmt(); }",
        ),
        Rule {
            within: owned(&["shared/src/", "functions/"]),
            ..home(
                "status codes stand in reply.rs",
                "what a caller is told about an error is decided in one match",
                &["::StatusCode"],
                &["shared/src/http/reply.rs"],
                "fn f() { http::StatusCode::OK; }",
            )
        },
    ]
}

/// Each store is named within itself and where apps are assembled, so stores never know each other either.
fn stores() -> Vec<Rule> {
    let rule = |(name, own): (&str, &str)| Rule {
        what: format!("{own} is named by itself and where apps are assembled"),
        why: "code that knows its store works on no other, and a store that leans on another cannot be exchanged",
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
    let why = "a function is deployed by itself, and what two of them share is shared's";
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
fn every_name_stands_where_it_may() {
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
fn every_rule_reports_what_breaks_it() {
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
        assert!(rule.breaches(&source).is_empty(), "a comment or a test broke: {}", rule.what);
    }
}
