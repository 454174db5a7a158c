//! `GET /health`: what works and what is away, without saying where anything is.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::telemetry::health::Status;

/// The paths of this function.
pub const ROUTES: &[Route] = &[Route { path: "/health", methods: &["GET"] }];
/// The variables that it cannot do without.
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

/// Answers a call.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    call.answer(app, health(app, &call).await).await
}

async fn health(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    call.query()?.finish()?;
    // The cheapest question that only a working record can answer.
    let (record, moment) = tokio::join!(app.record.deliveries.next_due(), app.moment.health.check());
    let redis = match moment {
        Status::Ok => "ok",
        Status::Warned(why) => {
            tracing::warn!(why, "Redis may lose what it should keep");
            "warned"
        }
        Status::Away => "down",
        Status::Off => "off",
    };
    let dependencies = |database| Dependencies { database, redis };
    Ok(match record {
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            Reply::down(&Health { status: "down", dependencies: dependencies("down") })
        }
        // Everything goes on without Redis, with limits in each process.
        Ok(_) if redis == "ok" || redis == "off" => {
            Reply::ok(&Health { status: "ok", dependencies: dependencies("ok") })
        }
        Ok(_) => Reply::ok(&Health { status: "degraded", dependencies: dependencies("ok") }),
    })
}
