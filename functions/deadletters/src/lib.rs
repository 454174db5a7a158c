//! Dead letters, the tasks that could not be processed: an operator lists, redrives or discards them.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::clock::Time;
use shared::delivery::dead_letters::{DeadLetter, DeadLetterPage, MAX_DEAD_LETTERS};
use shared::delivery::redriving;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::page_token::{self, List};
use shared::http::reply::Reply;
use shared::ids::{DeadLetterId, NotificationId, UserId};

const LIST: &str = "/api/dead-letters";
const ONE: &str = "/api/dead-letters/{id}";
const REDRIVE: &str = "/api/dead-letters/{id}/redrive";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: LIST, methods: &["GET"] },
    Route { path: ONE, methods: &["DELETE"] },
    Route { path: REDRIVE, methods: &["POST"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];

/// The page size if the caller names no limit.
const DEFAULT_LIMIT: usize = 50;

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("deadletters", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, _) = call.route(ROUTES)?;
    call.caller(app).await?.needs("notify:admin")?;
    match path {
        LIST => list(app, call).await,
        ONE => discard(app, call).await,
        REDRIVE => redrive(app, call).await,
        _ => Err(Error::NotFound),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: DeadLetterId,
    user_id: Option<UserId>,
    notification_id: Option<NotificationId>,
    error: String,
    attempts: i64,
    at: Time,
}

async fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let after = page_token::take(&mut fields)?;
    let limit = fields.limit(DEFAULT_LIMIT, MAX_DEAD_LETTERS);
    fields.finish()?;
    let DeadLetterPage { letters, next } = app.record.dead_letters.page(after, limit).await?;
    Ok(Reply::ok(&List::new(letters.into_iter().map(item).collect(), next)))
}

fn item(DeadLetter { key, user, notification, error, attempts }: DeadLetter) -> Item {
    Item { id: key.id, user_id: user, notification_id: notification, error, attempts, at: Time(key.at_ms) }
}

async fn discard(app: &App, call: &Call) -> Result<Reply, Error> {
    let id = call.dead_letter_id()?;
    call.optional_body()?.finish()?;
    if app.record.dead_letters.discard(id).await? { Ok(Reply::done()) } else { Err(Error::NotFound) }
}

async fn redrive(app: &App, call: &Call) -> Result<Reply, Error> {
    let id = call.dead_letter_id()?;
    call.optional_body()?.finish()?;
    redriving::redrive(app, id).await?;
    Ok(Reply::begun())
}
