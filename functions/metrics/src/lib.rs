//! `GET /api/notifications/metrics/redis` and `GET /metrics`: counts, backlogs and latencies for operators, as JSON
//! and as OpenMetrics text.

mod text;

use lambda_http::{Body, Request, Response};
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::telemetry::metrics;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: "/api/notifications/metrics/redis", methods: &["GET"] },
    Route { path: "/metrics", methods: &["GET"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("metrics", request);
    call.answer(app, report(app, &call)).await
}

async fn report(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, _) = call.route(ROUTES)?;
    call.caller(app).await?.needs("notify:admin")?;
    call.query()?.finish()?;
    let metrics = metrics::metrics(app).await;
    Ok(match path {
        "/metrics" => Reply::text(text::open_metrics(&metrics), text::CONTENT_TYPE),
        _ => Reply::ok(&metrics),
    })
}
