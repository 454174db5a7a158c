//! A database whose server explains all that it executes, and what is wrong with that.

use std::collections::BTreeSet;
use std::sync::Arc;

use harness::postgres_server::{self, PostgresServer, without_timeout};
use serde_json::Value;
use shared::config::Secret;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, PgConnection};

/// Tables that stay small, however much there is of everything else. Reading all of one is cheap.
const SMALL: [&str; 5] = ["dead_letters", "epoch", "erasures", "fast_accepts", "_sqlx_migrations"];
/// The rows that a step may look at: a few for each of the 1,000 rows that a statement may change.
const MAX_ROWS: f64 = 10_000.0;
/// What has every session explain its statements in the log of the server. The module belongs to Postgres; some systems have it
/// in a package named postgresql-contrib. Steps are not timed, which would take longer than most of them.
const SETTINGS: [&str; 6] = [
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_timing = off",
    "auto_explain.log_nested_statements = on",
    "auto_explain.log_format = json",
];

/// A database on a server of its own.
pub(crate) struct Explained {
    server: PostgresServer,
    database: Secret,
}

impl Explained {
    /// A new database, after this was executed, which is not explained.
    pub(crate) async fn after(statements: &str) -> Self {
        let server = PostgresServer::start();
        let database = server.database().await;
        postgres_server::does(&without_timeout(&database), statements).await;
        let (_, name) = database.reveal().rsplit_once('/').unwrap();
        for setting in SETTINGS {
            postgres_server::does(&database, &format!("ALTER DATABASE {name} SET {setting}")).await;
        }
        Self { server, database }
    }

    /// Lets acts run, and returns the plans of what was executed for them, of equal ones only one. They share a connection, as
    /// in a function: Postgres chooses between plans for given parameters and one for all by what it has executed before.
    pub(crate) async fn plans(&self, acts: impl AsyncFnOnce(Record)) -> Vec<Value> {
        let store = Arc::new(PostgresRecord::new(&self.database, 1).unwrap());
        acts(Record::new(store.clone())).await;
        // What is still to be logged is logged at the end of the session.
        store.close().await;
        let log = self.server.log();
        let (mut lines, mut plans) = (log.lines().peekable(), BTreeSet::new());
        while let Some(line) = lines.next() {
            if line.ends_with(" plan:") {
                // The other lines of an entry begin with a tab.
                let mut plan = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
                    plan.push_str(line);
                }
                plans.insert(plan);
            }
        }
        plans.iter().map(|plan| serde_json::from_str(plan).unwrap()).collect()
    }

    /// The tables with fewer rows than this, of those that grow.
    pub(crate) async fn tables_below(&self, rows: f32) -> Vec<String> {
        let mut database = PgConnection::connect(self.database.reveal()).await.unwrap();
        let query = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class
              WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples < $1",
        );
        let tables: Vec<String> = query.bind(rows).fetch_all(&mut database).await.unwrap();
        tables.into_iter().filter(|table| !SMALL.contains(&table.as_str())).collect()
    }
}

/// The text of the statement that a plan is of.
pub(crate) fn statement(plan: &Value) -> &str {
    plan["Query Text"].as_str().unwrap()
}

/// The steps of a plan that read a table from end to end, unless it stays small, or that look at more rows than they may.
pub(crate) fn problems(plan: &Value) -> Vec<String> {
    let (mut steps, mut problems) = (vec![&plan["Plan"]], Vec::new());
    while let Some(step) = steps.pop() {
        steps.extend(step["Plans"].as_array().into_iter().flatten());
        let (Some(kind), Some(table)) = (step["Node Type"].as_str(), step["Relation Name"].as_str()) else { continue };
        let number = |name: &str| step[name].as_f64().unwrap_or(0.0);
        let each = number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        let rows = each * number("Actual Loops");
        // The catalog is read by this test itself.
        let is_whole = kind == "Seq Scan" && !SMALL.contains(&table) && !table.starts_with("pg_");
        if is_whole || (kind.ends_with("Scan") && rows > MAX_ROWS) {
            problems.push(format!("{kind} on {table}, {rows} rows:\n{}", statement(plan)));
        }
    }
    problems
}
