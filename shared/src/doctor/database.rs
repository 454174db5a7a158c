//! What a Postgres server says about itself: its version, the rights of our role, its migrations, its load, and what stands
//! in front of it.

use super::clocks;
use super::finding::Finding;
use crate::config::Pooler;
use crate::error::StoreError;
use crate::telemetry::health::Schema;

const CHECK: &str = "database";
/// What to do if the role is not right.
const MAKE_ROLE: &str = "run `migrate` with FUNCTIONS_DATABASE_URL, which makes a role that may read and change rows";
/// The oldest version that still gets fixes, as `server_version_num`.
const MIN_VERSION: i32 = 140_000;
/// Of the server's connections: how many are in use when it is time to look, in percent.
const NEARLY_FULL_PERCENT: i64 = 80;

/// What a server and its database say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The version, such as `16.4`.
    pub version: String,
    /// The same as a number, such as 160004.
    pub version_number: i32,
    /// Whether our role may do everything.
    pub is_superuser: bool,
    /// Whether our role owns the tables.
    pub is_owner: bool,
    /// Whether it is a replica, which takes no writes.
    pub is_replica: bool,
    /// The encoding of the database.
    pub encoding: String,
    /// Whether statements of our role end by themselves.
    pub has_timeouts: bool,
    /// Rights on existing tables that our role lacks, such as `INSERT on sends`.
    pub missing_rights: Vec<String>,
    /// The connections of clients, all of them together.
    pub connections: i64,
    /// How many connections the server accepts.
    pub max_connections: i64,
    /// How far its clock is ahead of this process's, in milliseconds.
    pub ahead_ms: i64,
    /// What stands in front of it.
    pub front: Front,
}

/// What stands between this process and the server, as two connections to it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// A connection stayed with one process of the server.
    Session,
    /// A connection moved to another process, which knew its prepared statements.
    Tracking,
    /// A connection moved to another process, which did not know its prepared statements.
    NotTracking,
    /// It could not be found out.
    Unknown,
}

/// Why nothing can be said about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What it, or the network, said. Without addresses.
    pub reason: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The findings about a server that does not let us in.
pub fn of_unreachable(Unreachable { reason, remedy }: &Unreachable) -> Finding {
    Finding::problem(CHECK, format!("DATABASE_URL cannot be used: {reason}"), *remedy)
}

/// The findings about a server.
pub fn of_examined(examined: &Examined, schema: &Result<Schema, StoreError>, pooler: Pooler) -> Vec<Finding> {
    let Examined { version, version_number, connections, max_connections, .. } = examined;
    let mut found = vec![Finding::ok(CHECK, format!("it answers: Postgres {version}"))];
    if *version_number < MIN_VERSION {
        let what = format!("Postgres {version} gets no fixes any more");
        found.push(Finding::warning(CHECK, what, "upgrade it to 14 or later"));
    }
    if examined.is_replica {
        let what = "it is a replica, which refuses every write";
        found.push(Finding::problem(
            CHECK,
            what,
            "name the primary in DATABASE_URL (the writer endpoint of a cluster)",
        ));
    }
    if !examined.encoding.eq_ignore_ascii_case("UTF8") {
        let what = format!("its encoding is {}, which cannot hold every text", examined.encoding);
        found.push(Finding::problem(CHECK, what, "create the database with ENCODING 'UTF8'"));
    }
    found.extend(clocks::skew(CHECK, examined.ahead_ms));
    if connections * 100 >= max_connections * NEARLY_FULL_PERCENT {
        let what = format!("{connections} of {max_connections} connections are in use");
        let remedy = "raise max_connections, limit the concurrency of the functions, or put a pooler in front of it";
        found.push(Finding::warning(CHECK, what, remedy));
    }
    found.push(of_schema(schema));
    found.extend(of_role(examined));
    found.extend(of_front(examined.front, pooler));
    found
}

fn of_schema(schema: &Result<Schema, StoreError>) -> Finding {
    const CHECK: &str = "migrations";
    match schema {
        Err(error) => Finding::problem(
            CHECK,
            format!("which migrations it has cannot be read: {error}"),
            "see that the database has time for it, and run migrations/roles.sql for the role of the functions",
        ),
        Ok(Schema { missing: Some(missing), .. }) => Finding::problem(
            CHECK,
            format!("the database lacks migration {missing}"),
            "run `carillon migrate`, or the function `migrate`, with the role that owns the tables and past any pooler",
        ),
        Ok(Schema { needed, found, .. }) if found > needed => Finding::warning(
            CHECK,
            format!("the database is ahead: its last migration is {found}, and this release knows {needed}"),
            "nothing after a rollback, which is meant to work so; otherwise deploy the newer release",
        ),
        Ok(Schema { found, .. }) => Finding::ok(CHECK, format!("all are applied; the last is {found}")),
    }
}

fn of_role(examined: &Examined) -> Vec<Finding> {
    const CHECK: &str = "role";
    let mut found = Vec::new();
    if !examined.missing_rights.is_empty() {
        let what = format!("the role in DATABASE_URL lacks rights: {}", examined.missing_rights.join(", "));
        found.push(Finding::problem(CHECK, what, MAKE_ROLE));
    }
    if examined.is_superuser {
        let what = "the role in DATABASE_URL is a superuser: a leaked URL opens the whole server";
        found.push(Finding::warning(CHECK, what, MAKE_ROLE));
    } else if examined.is_owner {
        let what = "the role in DATABASE_URL owns the tables, so functions may drop them";
        found.push(Finding::warning(CHECK, what, MAKE_ROLE));
    }
    if !examined.has_timeouts {
        let what = "the role has no timeouts, so each transaction sets its own";
        found.push(Finding::warning(
            CHECK,
            what,
            "run `carillon migrate`, or migrations/roles.sql for a role of its own",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok(CHECK, "it may read and change rows, and nothing else"));
    }
    found
}

fn of_front(front: Front, pooler: Pooler) -> Option<Finding> {
    const CHECK: &str = "DATABASE_POOLER";
    match (front, pooler) {
        (Front::NotTracking, Pooler::None) => Some(Finding::problem(
            CHECK,
            "a pooler moves connections and does not track prepared statements: statements fail, or another client's run",
            "set DATABASE_POOLER=transaction, or max_prepared_statements of PgBouncer 1.21 or later above 0",
        )),
        (Front::Tracking, Pooler::Transaction) => Some(Finding::warning(
            CHECK,
            "the pooler tracks prepared statements, so DATABASE_POOLER=transaction only costs round trips",
            "leave DATABASE_POOLER out",
        )),
        (Front::Session, Pooler::Transaction) => Some(Finding::warning(
            CHECK,
            "no pooler was noticed, and DATABASE_POOLER=transaction costs three round trips a statement",
            "leave DATABASE_POOLER out, unless DATABASE_URL names a pooler in transaction mode",
        )),
        (Front::NotTracking, Pooler::Transaction) => Some(Finding::ok(CHECK, "it fits the pooler")),
        (Front::Session | Front::Tracking, Pooler::None) | (Front::Unknown, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn sound() -> Examined {
        Examined {
            version: "16.4".into(),
            version_number: 160_004,
            is_superuser: false,
            is_owner: false,
            is_replica: false,
            encoding: "UTF8".into(),
            has_timeouts: true,
            missing_rights: Vec::new(),
            connections: 79,
            max_connections: 100,
            ahead_ms: 0,
            front: Front::Session,
        }
    }

    fn schema(found: i64, missing: Option<&str>) -> Result<Schema, StoreError> {
        Ok(Schema { needed: 12, found, missing: missing.map(str::to_owned) })
    }

    /// The findings that are not ok.
    fn found(examined: &Examined, schema: &Result<Schema, StoreError>, pooler: Pooler) -> Vec<(String, State)> {
        let findings = of_examined(examined, schema, pooler).into_iter();
        let not_ok = findings.filter(|finding| finding.state != State::Ok);
        not_ok.map(|finding| (finding.check, finding.state)).collect()
    }

    #[test]
    fn a_sound_server_has_no_finding() {
        assert_eq!(found(&sound(), &schema(12, None), Pooler::None), []);
    }

    #[test]
    fn each_fault_of_a_server_has_a_finding() {
        use State::{Problem, Warning};
        for (examined, check, state) in [
            (Examined { version_number: 130_011, ..sound() }, "database", Warning),
            (Examined { is_replica: true, ..sound() }, "database", Problem),
            (Examined { encoding: "SQL_ASCII".into(), ..sound() }, "database", Problem),
            (Examined { connections: 80, ..sound() }, "database", Warning),
            (Examined { ahead_ms: -31_000, ..sound() }, "database", Problem),
            (Examined { missing_rights: vec!["INSERT on sends".into()], ..sound() }, "role", Problem),
            (Examined { is_superuser: true, ..sound() }, "role", Warning),
            (Examined { is_owner: true, ..sound() }, "role", Warning),
            (Examined { has_timeouts: false, ..sound() }, "role", Warning),
            (Examined { front: Front::NotTracking, ..sound() }, "DATABASE_POOLER", Problem),
        ] {
            let found = found(&examined, &schema(12, None), Pooler::None);
            assert_eq!(found, [(check.to_owned(), state)], "{examined:?}");
        }
        for (front, expected) in [
            (Front::Session, Some(Warning)),
            (Front::Tracking, Some(Warning)),
            (Front::NotTracking, None),
            (Front::Unknown, None),
        ] {
            let found = found(&Examined { front, ..sound() }, &schema(12, None), Pooler::Transaction);
            assert_eq!(found.first().map(|(_, state)| *state), expected, "{front:?}");
        }
    }

    #[test]
    fn migrations_that_are_behind_ahead_or_unreadable_are_told() {
        let state = |schema| found(&sound(), &schema, Pooler::None).first().map(|(_, state)| *state);
        assert_eq!(state(schema(11, Some("0012_web_push"))), Some(State::Problem));
        assert_eq!(state(schema(13, None)), Some(State::Warning));
        assert_eq!(state(Err(StoreError::Unavailable("denied".into()))), Some(State::Problem));
    }
}
