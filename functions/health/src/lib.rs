//! `GET /health`: which dependencies work. It is public, so it does not reveal their addresses.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::telemetry::health::Status;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: "/health", methods: &["GET"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL"];

#[derive(Serialize)]
struct Health {
    status: &'static str,
    dependencies: Dependencies,
}

#[derive(Serialize)]
struct Dependencies {
    database: &'static str,
    redis: &'static str,
}

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    call.answer(app, health(app, &call).await).await
}

async fn health(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    call.query()?.finish()?;
    // The cheapest query that only a working record can answer.
    let (record, moment) = tokio::join!(app.record.deliveries.next_due(), app.moment.health.check());
    let redis = match moment {
        Status::Ok => "ok",
        Status::Warned(why) => {
            tracing::warn!(why, "Redis is configured in a way that can lose data");
            "warned"
        }
        Status::Unavailable => "down",
        Status::Off => "off",
    };
    let dependencies = |database| Dependencies { database, redis };
    Ok(match record {
        Err(error) => {
            tracing::error!(%error, "the database is unavailable");
            Reply::down(&Health { status: "down", dependencies: dependencies("down") })
        }
        // Without Redis everything keeps working, but each process enforces the rate limits on its own.
        Ok(_) if redis == "ok" || redis == "off" => {
            Reply::ok(&Health { status: "ok", dependencies: dependencies("ok") })
        }
        Ok(_) => Reply::ok(&Health { status: "degraded", dependencies: dependencies("ok") }),
    })
}
