//! The outcome of sends and the trace of one notification. A sender sees its own sends and a recipient its own
//! notifications; an administrator sees all of them.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::clock::Time;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::fields::Fields;
use shared::http::page_token::{self, List};
use shared::http::reply::Reply;
use shared::ids::{NotificationId, SendId, UserId};
use shared::inbox::history::{MAX_SENDS, PastSend, SendPage, SendQuery, State, States, Steps};

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: "/api/notifications/history", methods: &["GET"] },
    Route { path: "/api/notifications/{id}/trace", methods: &["GET"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];

/// The page size if the caller names no limit.
const DEFAULT_LIMIT: usize = 50;

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("history", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, _) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    match path {
        "/api/notifications/history" => sends(app, call, &caller).await,
        "/api/notifications/{id}/trace" => trace(app, call, &caller).await,
        _ => Err(Error::NotFound),
    }
}

fn is_admin(caller: &Caller) -> bool {
    caller.needs("notify:admin").is_ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    send_id: SendId,
    r#type: String,
    title: String,
    created_at: Time,
    recipients: i64,
    states: States,
}

async fn sends(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let sender = if is_admin(caller) { None } else { Some(caller.needs("notify:send").map(|()| caller.user.clone())?) };
    let mut fields = call.query()?;
    let after = page_token::take(&mut fields)?;
    let query = SendQuery {
        sender,
        after,
        limit: fields.limit(DEFAULT_LIMIT, MAX_SENDS),
        recipient: recipient(&mut fields),
        kind: fields.text("type", 1, 64),
        state: state(&mut fields),
    };
    fields.finish()?;
    let SendPage { sends, next } = app.record.history.sends(&query, app.clock.at()).await?;
    Ok(Reply::ok(&List::new(sends.into_iter().map(item).collect(), next)))
}

fn recipient(fields: &mut Fields) -> Option<UserId> {
    let id = fields.parameter("userId")?;
    fields.checked("userId", id, |id| UserId::new(id).map_err(str::to_owned))
}

fn state(fields: &mut Fields) -> Option<State> {
    let name = fields.parameter("state")?;
    fields.checked("state", name, |name| {
        State::from_name(&name)
            .ok_or_else(|| format!("must be one of {}", State::NAMES.map(|(name, _)| name).join(", ")))
    })
}

fn item(PastSend { key, kind, title, states }: PastSend) -> Item {
    Item { send_id: key.id, r#type: kind, title, created_at: Time(key.at_ms), recipients: states.sum(), states }
}

#[derive(Serialize)]
struct Traced {
    id: NotificationId,
    #[serde(flatten)]
    steps: Steps,
}

async fn trace(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.notification_id()?;
    call.query()?.finish()?;
    let visible_to = if is_admin(caller) { None } else { Some(&caller.user) };
    let trace = app.record.history.trace(id, visible_to, app.clock.at()).await?.ok_or(Error::NotFound)?;
    let pushes = app.moment.telemetry.outcomes(id, app.clock.at()).await;
    let steps = trace.steps(pushes.as_deref(), app.clock.now_ms());
    Ok(Reply::ok(&Traced { id, steps }))
}
