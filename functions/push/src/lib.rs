//! What rings for a user: the browsers that are pushed to, and preferences.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;
use shared::ids::SubscriptionId;
use shared::preferences::Preferences;
use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::Subscribed;

const KEY: &str = "/api/push/key";
const SUBSCRIPTIONS: &str = "/api/push/subscriptions";
const SUBSCRIPTION: &str = "/api/push/subscriptions/{id}";
const PREFERENCES: &str = "/api/preferences";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: KEY, methods: &["GET"] },
    Route { path: SUBSCRIPTIONS, methods: &["POST"] },
    Route { path: SUBSCRIPTION, methods: &["DELETE"] },
    Route { path: PREFERENCES, methods: &["GET", "PUT"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET"];

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    let call = Call::new("push", request);
    call.answer(app, answer(app, &call)).await
}

async fn answer(app: &App, call: &Call) -> Result<Reply, Error> {
    let (path, method) = call.route(ROUTES)?;
    let caller = call.caller(app).await?;
    match (path, method) {
        (KEY, _) => key(app, call),
        (SUBSCRIPTIONS, _) => subscribe(app, call, &caller).await,
        (SUBSCRIPTION, _) => unsubscribe(app, call, &caller).await,
        (PREFERENCES, "GET") => preferences(app, call, &caller).await,
        (PREFERENCES, _) => set_preferences(app, call, &caller).await,
        _ => Err(Error::NotFound),
    }
}

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

/// The key that browsers subscribe with; there is none in a deployment without Web Push.
fn key(app: &App, call: &Call) -> Result<Reply, Error> {
    call.query()?.finish()?;
    let key = app.config.push_key().ok_or(Error::NotFound)?;
    Ok(Reply::ok(&Key { key: &key }))
}

#[derive(Serialize)]
struct Id {
    id: SubscriptionId,
}

async fn subscribe(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    if app.config.push_key().is_none() {
        return Err(Error::NotFound);
    }
    let subscription = Subscription::read(call.body()?, &app.config.push_hosts)?;
    match app.record.subscriptions.subscribe(&caller.user, caller.issued_at_s, &subscription).await? {
        Subscribed::Done => Ok(Reply::created(&Id { id: subscription.id })),
        // Revoked a moment ago, which this process has not heard yet.
        Subscribed::Revoked => Err(Error::InvalidToken),
        Subscribed::Taken => Err(Error::Conflict("the endpoint is subscribed with other keys")),
    }
}

async fn unsubscribe(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.subscription_id()?;
    call.optional_body()?.finish()?;
    if app.record.subscriptions.unsubscribe(&caller.user, id).await? { Ok(Reply::done()) } else { Err(Error::NotFound) }
}

async fn preferences(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    call.query()?.finish()?;
    Ok(Reply::ok(&app.record.preferences.preferences(&caller.user).await?))
}

async fn set_preferences(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let preferences = Preferences::read(call.body()?)?;
    app.record.preferences.set_preferences(&caller.user, &preferences).await?;
    Ok(Reply::ok(&preferences))
}
