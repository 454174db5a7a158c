//! What anybody may ask: which dependencies work (`GET /health`, without their addresses), and what the API is
//! (`GET /openapi.json`).

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::error::{Error, StoreError};
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::telemetry::health::{Schema, Status, Warning};

const HEALTH: &str = "/health";
const OPENAPI: &str = "/openapi.json";

/// `docs/openapi.yaml` as JSON; `npm run openapi` in `client/` writes it, and a test there compares them.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: HEALTH, methods: &["GET"] }, Route { path: OPENAPI, methods: &["GET"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL"];

#[derive(Serialize)]
struct Health {
    status: &'static str,
    dependencies: Dependencies,
    /// Null if the database is unavailable.
    schema: Option<Schema>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Dependencies {
    database: &'static str,
    redis: &'static str,
}

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("health", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, _) = call.route(ROUTES)?;
    call.query()?.finish()?;
    match path {
        HEALTH => Ok(health(app).await),
        OPENAPI => Ok(Reply::text(DESCRIPTION, "application/json")),
        _ => Err(Error::NotFound),
    }
}

async fn health(app: &App) -> Reply {
    // The first is the cheapest query that only a working record can answer.
    let (record, schema, moment) =
        tokio::join!(app.record.deliveries.next_due(), app.record.migrations.schema(), app.moment.health.check());
    let (redis, warnings) = match moment {
        Status::Ok => ("ok", without_append_only_file(app).await),
        Status::Warned(warnings) => ("ok", warnings.into_iter().chain(without_append_only_file(app).await).collect()),
        Status::Unavailable => ("down", Vec::new()),
        Status::Off => ("off", Vec::new()),
    };
    for Warning { instance, text, .. } in &warnings {
        tracing::warn!(instance, "Redis works, but not as it should: {text}");
    }
    let redis = if warnings.is_empty() { redis } else { "warned" };
    let (schema, record) = match (schema, record) {
        (Ok(schema), record) => (Some(schema), record.map(drop)),
        (Err(error), _) => (None, Err(error)),
    };
    let is_outdated = schema.as_ref().is_some_and(|schema| schema.missing.is_some());
    let database = match (&record, is_outdated) {
        (Ok(()), _) => "ok",
        // A migration is missing, which every call needs.
        (Err(_), true) => "outdated",
        (Err(StoreError::Overloaded(_)), false) => "overloaded",
        (Err(_), false) => "down",
    };
    let health = |status| Health { status, dependencies: Dependencies { database, redis }, schema, warnings };
    match record {
        // Taking this process out of service would leave more work to the others.
        Err(error @ StoreError::Overloaded(_)) if !is_outdated => {
            tracing::warn!(%error, "the database works, and has no connection left");
            Reply::ok(&health("degraded"))
        }
        Err(error) => {
            tracing::error!(%error, "the database is unavailable");
            Reply::down(&health("down"))
        }
        // Without Redis everything keeps working, but each process enforces the rate limits on its own.
        Ok(()) if redis == "ok" || redis == "off" => Reply::ok(&health("ok")),
        Ok(()) => Reply::ok(&health("degraded")),
    }
}

/// The instances that would lose with a restart what was accepted fast, if that is in use.
async fn without_append_only_file(app: &App) -> Vec<Warning> {
    if !app.fast_use.may_have_logs(&*app.record.fast, &app.clock).await.unwrap_or(true) {
        return Vec::new();
    }
    app.moment.health.instances().await.without_append_only_file()
}
