//! Who may name what. A new place is one more line in `only_in`, and a reason.

use crate::places::Rule;
use crate::tree::{self, Text};

const SOURCES: [&str; 3] = ["shared/src/", "functions/", "gateway/src/"];
/// Whoever keeps a promise. Each may have a folder or a file in `shared/src`.
const STORES: [&str; 7] = ["sqlite", "postgres", "memory", "redis", "without", "api_gateway", "lambda"];

/// The modules of `shared` in one of the groups that its `lib.rs` lists under a comment.
fn group(lib: &str, name: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let mut reading = false;
    for line in lib.lines() {
        if let Some(comment) = line.strip_prefix("// ") {
            // "… and of the moment" goes on with the group above it.
            reading = comment.starts_with(name) || (reading && comment.starts_with('…'));
        } else if let Some(module) = line.strip_prefix("pub mod ")
            && reading
        {
            modules.push(module.trim_end_matches(';').to_owned());
        }
    }
    modules
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The files of modules in `shared/src`, whether a file or a folder.
fn modules(names: &[String]) -> Vec<String> {
    names.iter().flat_map(|name| [format!("shared/src/{name}.rs"), format!("shared/src/{name}/")]).collect()
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
    rules.extend(layers());
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
            &["shared/src/sqlite/", "shared/src/postgres/"],
            "use sqlx::Row;",
        ),
        home(
            "Redis is spoken to in one place",
            "keys and scripts are a format, and a format has one home",
            &["redis", "fred"],
            &["shared/src/redis/"],
            "fn f() { redis::cmd(\"GET\"); }",
        ),
        home(
            "the environment is read by config.rs, by the gateway's main.rs, and where cargo builds",
            "a variable read elsewhere is neither checked at start nor documented",
            &["std::env"],
            &["shared/src/config.rs", "gateway/src/main.rs", "functions/*/build.rs"],
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
                &["shared/src/reply.rs"],
                "fn f() { http::StatusCode::OK; }",
            )
        },
    ]
}

/// The groups of `shared`, as its `lib.rs` lists them.
fn layers() -> Vec<Rule> {
    let lib = tree::read("shared/src/lib.rs");
    let of = |names: &[&str]| {
        let groups: Vec<String> = names.iter().flat_map(|name| group(&lib, name)).collect();
        modules(&groups)
    };
    let stores: Vec<String> = STORES.iter().map(|store| format!("::{store}")).collect();
    let layer = |what: &str, why, within, only_in: &[&str], broken_by: &str| Rule {
        what: what.into(),
        why,
        names: stores.clone(),
        within,
        only_in: owned(only_in),
        broken_by: broken_by.into(),
    };
    vec![
        layer(
            "words and promises name no store",
            "a promise that knows who keeps it is no promise",
            of(&["Words", "Promises"]),
            &[],
            "use crate::{clock::At, sqlite::SqliteRecord};",
        ),
        layer(
            "acts know promises; function/stores.rs alone puts the stores behind them",
            "an act that knows its store works on no other",
            of(&["Acts"]),
            &["shared/src/function/stores.rs"],
            "fn f() { crate::memory::MemoryLimits::default(); }",
        ),
        layer(
            "functions know promises, not stores, but for `migrate`, whose whole purpose is one",
            "which store there is says the configuration",
            owned(&["functions/"]),
            &["functions/migrate/src/lib.rs"],
            "use shared::sqlite;",
        ),
    ]
}

/// Stores do not know each other.
fn stores() -> Vec<Rule> {
    let rule = |own: &&str| Rule {
        what: format!("{own} names no other store"),
        why: "stores that lean on each other cannot be exchanged one by one",
        names: STORES.iter().filter(|store| store != &own).map(|store| format!("::{store}")).collect(),
        within: modules(&owned(&[own])),
        only_in: Vec::new(),
        broken_by: if *own == "memory" {
            "use super::super::sqlite::SqliteRecord;".into()
        } else {
            "use crate::memory::MemoryLimits;".into()
        },
    };
    STORES.iter().map(rule).collect()
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
fn every_rule_is_about_files_that_there_are() {
    let sources = tree::rust_under(&SOURCES.map(|folder| folder.trim_end_matches('/')));
    let is_there = |store: &str| {
        let homes = modules(&owned(&[store]));
        sources.iter().any(|source| homes.iter().any(|home| source.path.starts_with(home)))
    };
    for rule in &rules() {
        let covered = sources.iter().filter(|source| rule.covers(&source.path));
        // A store that is not written yet has no files.
        let expected = STORES.iter().all(|store| !rule.what.starts_with(store) || is_there(store));
        assert_eq!(covered.count() > 0, expected, "{}", rule.what);
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

#[test]
fn every_module_of_shared_is_in_a_group() {
    let lib = tree::read("shared/src/lib.rs");
    let groups = ["Words", "Promises", "Acts", "Stores"].map(|name| group(&lib, name));
    assert!(groups.iter().all(|group| !group.is_empty()), "{groups:?}");
    let grouped = groups.concat();
    let declared = lib.lines().filter_map(|line| {
        let module = line.trim_start().trim_start_matches("pub ");
        module.strip_prefix("mod ")?.strip_suffix(';')
    });
    for module in declared {
        assert!(grouped.iter().any(|grouped| grouped == module), "shared/src/lib.rs: {module} is in no group");
    }
    for store in &groups[3] {
        assert!(STORES.contains(&store.as_str()), "{store} is not in STORES");
    }
}
