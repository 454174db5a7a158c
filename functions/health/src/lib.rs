//! `GET /health`: what works and what is away, without saying where anything is.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::call::{Call, Route};
use shared::error::Error;
use shared::reply::{self, Reply};

/// The paths of this function.
pub const ROUTES: &[Route] = &[Route { path: "/health", methods: &["GET"] }];
/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL"];

#[derive(Serialize)]
struct Health {
    status: &'static str,
    dependencies: Dependencies,
}

#[derive(Serialize)]
struct Dependencies {
    database: &'static str,
}

/// Answers a call.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new(request);
    reply::respond(health(app, &call).await, call.request_id())
}

async fn health(app: &App, call: &Call) -> Result<Reply, Error> {
    call.route(ROUTES)?;
    call.query()?.finish()?;
    // The cheapest question that only a working record can answer.
    match app.deliveries.next_due().await {
        Ok(_) => Ok(Reply::ok(&Health { status: "ok", dependencies: Dependencies { database: "ok" } })),
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            Ok(Reply::down(&Health { status: "down", dependencies: Dependencies { database: "down" } }))
        }
    }
}
