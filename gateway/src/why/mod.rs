//! `carillon why`: what became of a notification, asked of a gateway or a deployment and told as a story.

mod story;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use shared::ids::NotificationId;

use self::story::{DeadLetter, Known, Notification, Queue, QuietHours, Step};
use crate::api::{Answer, Api};
use crate::client::BoxError;

/// How many pages of dead letters are searched, of 200 each.
const MAX_PAGES: usize = 10;

/// Which notification, and whom to ask.
pub struct Question {
    /// The notification.
    pub id: NotificationId,
    /// The URL of the gateway or the deployment.
    pub url: String,
    /// A token of the owner or with the scope `notify:admin`; without one, a local gateway signs it.
    pub token: Option<String>,
    /// The recipient, if it is known.
    pub user: Option<String>,
    /// The present time, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Tells what became of a notification, and what to do if it has not arrived.
pub async fn tell(question: &Question) -> Result<String, BoxError> {
    let Question { id, url, user, now_ms, .. } = question;
    let api = &Api::at(url)?;
    let token = match &question.token {
        Some(token) => token.clone(),
        None => signed(api, "carillon", "notify:admin").await?,
    };
    let traced = api.get(&format!("/api/notifications/{id}/trace"), Some(&token)).await?;
    let trace: Option<Trace> = match traced.status {
        200 => Some(serde_json::from_value(traced.body)?),
        404 => None,
        _ => return Err(format!("the trace of {id} cannot be read: {}", traced.reason()).into()),
    };
    let dead_letter = dead_letter(api, &token, *id).await?;
    let Trace { steps, complete } = match (trace, &dead_letter) {
        (Some(trace), _) => trace,
        // The database refuses its row, or has it no more, so nothing else is known of it.
        (None, Some(_)) => Trace { steps: Vec::new(), complete: false },
        (None, None) => return Err(story::unknown(*id).into()),
    };
    let metrics = api.get("/api/notifications/metrics/redis", Some(&token)).await?.found();
    let user = user.clone().or_else(|| dead_letter.as_ref()?.user_id.clone());
    let is_online = match &user {
        Some(user) => is_online(api, &token, user).await?,
        None => None,
    };
    // Only its owner may read a notification, so a local gateway signs a token for the owner.
    let owner = match (&question.token, &user) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(user)) => Some(signed(api, user, "").await?),
        (None, None) => None,
    };
    let (mut notification, mut quiet_hours) = (None, None);
    if let Some(owner) = &owner {
        notification = read::<Notification>(api.get(&format!("/api/notifications/{id}"), Some(owner)).await?);
    }
    if let (Some(owner), true) = (&owner, notification.is_some()) {
        let preferences = api.get("/api/preferences", Some(owner)).await?.found();
        quiet_hours = preferences
            .and_then(|preferences| {
                serde_json::from_value::<Option<QuietHours>>(preferences["quietHours"].clone()).ok()
            })
            .flatten();
    }
    let queue = metrics.and_then(|metrics| serde_json::from_value::<Queue>(metrics["queue"].clone()).ok());
    Ok(story::told(&Known {
        id: *id,
        now_ms: *now_ms,
        steps,
        is_complete: complete,
        dead_letter,
        queue,
        is_online,
        notification,
        quiet_hours,
    }))
}

#[derive(Deserialize)]
struct Trace {
    steps: Vec<Step>,
    complete: bool,
}

/// A token that a local gateway signs.
async fn signed(api: &Api, sub: &str, scope: &str) -> Result<String, BoxError> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path = format!("/_gateway/token?sub={}&scope={}", encoded(sub), encoded(scope));
    let answer = api.get(&path, None).await?;
    match answer.body["token"].as_str() {
        Some(token) => Ok(token.to_owned()),
        None => Err(format!(
            "the gateway signs no token: set CARILLON_TOKEN to one with the scope notify:admin, which `carillon token` or the \
             identity provider signs ({})",
            answer.reason()
        )
        .into()),
    }
}

/// The dead letter of a notification. `None` too if the token may not read dead letters.
async fn dead_letter(api: &Api, token: &str, id: NotificationId) -> Result<Option<DeadLetter>, BoxError> {
    let mut path = "/api/dead-letters?limit=200".to_owned();
    for _ in 0..MAX_PAGES {
        let Some(page) = api.get(&path, Some(token)).await?.found() else { return Ok(None) };
        let letters: Vec<DeadLetter> = serde_json::from_value(page["items"].clone())?;
        let wanted = id.to_string();
        if let Some(letter) = letters.into_iter().find(|letter| letter.notification_id.as_ref() == Some(&wanted)) {
            return Ok(Some(letter));
        }
        let Some(next) = page["nextCursor"].as_str() else { return Ok(None) };
        path = format!("/api/dead-letters?limit=200&cursor={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    }
    Ok(None)
}

/// Whether a user is connected; `None` if the token does not let us know.
async fn is_online(api: &Api, token: &str, user: &str) -> Result<Option<bool>, BoxError> {
    let path = format!("/api/presence?userId={}", utf8_percent_encode(user, NON_ALPHANUMERIC));
    let presence = api.get(&path, Some(token)).await?.found();
    Ok(presence.and_then(|presence| presence["users"][0]["online"].as_bool()))
}

fn read<T: serde::de::DeserializeOwned>(answer: Answer) -> Option<T> {
    let body: Value = answer.found()?;
    serde_json::from_value(body).ok()
}
