//! Creating chats and changing who is in them, and telling the members.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::chat::audience::EVERY_VERSION;
use crate::chat::chats::{Change, Changed, Created, NewChat};
use crate::chat::draft::client_id;
use crate::chat::{Kind, MAX_MEMBERS, OwnChat};
use crate::error::Error;
use crate::http::fields::Fields;
use crate::ids::{ChatId, UserId, sha256};
use crate::limits::{Spend, Verdict};
use crate::protocol::{self, Event};
use crate::sockets::outgoing::{self, Outgoing};
use crate::text;

/// The most characters of a title.
const MAX_TITLE_CHARS: usize = 200;
/// Creating and adding spend one unit for each of so many people that was begun.
const PEOPLE_PER_UNIT: usize = 50;

/// What a caller asks for who creates a chat.
#[derive(Debug)]
pub struct Request {
    kind: Kind,
    title: Option<String>,
    others: Vec<UserId>,
    client_id: Option<String>,
}

impl Request {
    /// Reads the body of a call. The caller may be among the participants.
    pub fn read(members: Map<String, Value>, caller: &UserId) -> Result<Self, Error> {
        let mut fields = Fields::new(members);
        let kind = fields.take("kind");
        let kind = fields.required("kind", kind).and_then(|kind| {
            let named =
                |kind: Value| kind.as_str().and_then(Kind::from_name).ok_or("must be direct or group".to_owned());
            fields.checked("kind", kind, named)
        });
        let others = fields.users("participantIds", MAX_MEMBERS);
        let others = others.map(|users| users.into_iter().filter(|user| user != caller).collect::<Vec<_>>());
        let title = fields.take("title").and_then(|title| fields.checked("title", title, checked_title));
        let client_id = client_id(&mut fields);
        match (kind, others.as_ref().map(Vec::len)) {
            (Some(Kind::Direct), Some(count)) if count != 1 => {
                fields.problem("participantIds", "must name one other user");
            }
            (Some(Kind::Group), Some(count)) if !(1..MAX_MEMBERS).contains(&count) => {
                fields.problem("participantIds", format_args!("must name 1 to {} other users", MAX_MEMBERS - 1));
            }
            _ => {}
        }
        if kind == Some(Kind::Direct) && title.is_some() {
            fields.problem("title", "must be absent in a direct chat");
        }
        fields.finish()?;
        // Every absence was recorded as a problem, so `finish` has failed if one of them is missing.
        let (kind, others) = kind.zip(others).ok_or(Error::Internal)?;
        Ok(Self { kind, title, others, client_id })
    }

    /// The chat's id: of a direct one it follows from the pair, of a group from the creator's client id.
    fn id(&self, creator: &UserId) -> ChatId {
        match (self.kind, self.others.as_slice(), &self.client_id) {
            (Kind::Direct, [other], _) => ChatId::of_pair(creator, other),
            (_, _, Some(client_id)) => ChatId::of_group(creator, client_id),
            _ => ChatId::random(),
        }
    }

    /// The same for every repeat, whatever the order of participants.
    fn fingerprint(&self) -> [u8; 32] {
        let others: BTreeSet<&UserId> = self.others.iter().collect();
        sha256(json!([self.kind, self.title, others]).to_string().as_bytes())
    }
}

/// A title: a single line of 1–200 characters.
pub fn checked_title(title: Value) -> Result<String, String> {
    match title {
        Value::String(title) => text::check_line(&title, MAX_TITLE_CHARS).map(|()| title),
        _ => Err("must be a string".into()),
    }
}

/// The result of creating a chat.
#[derive(Debug)]
pub struct Opened {
    /// The chat.
    pub chat: OwnChat,
    /// Whether it was created now.
    pub is_new: bool,
}

/// Creates a chat, or finds the one that there is.
pub async fn create(app: &App, creator: &UserId, request: &Request) -> Result<Opened, Error> {
    let spends = spends(app, creator, request.others.len());
    spend(app, &spends).await?;
    let new = NewChat {
        id: request.id(creator),
        kind: request.kind,
        title: request.title.as_deref(),
        creator,
        others: &request.others,
        fingerprint: request.fingerprint(),
    };
    let created = app.record.chats.create(&new, app.clock.at()).await;
    if !matches!(created, Ok(Created::New(_))) {
        app.moment.limits.give_back(&spends, app.clock.at()).await;
    }
    let (changed, is_new) = match created? {
        Created::New(changed) => (changed, true),
        Created::Accepted(changed) => (changed, false),
        Created::Known(chat) => return Ok(Opened { chat, is_new: false }),
        Created::Reused => return Err(Error::IdempotencyKeyReused),
        Created::Left => return Err(Error::NotFound),
    };
    tell(app, new.id, &changed).await;
    // A member sees the chat that it has just changed.
    Ok(Opened { chat: changed.chat.ok_or(Error::Internal)?, is_new })
}

/// Changes a chat; returns it as the member sees it, or `None` after leaving.
pub async fn change(app: &App, member: &UserId, chat: ChatId, change: &Change) -> Result<Option<OwnChat>, Error> {
    let spends = match change {
        Change::Add(users) => spends(app, member, users.len()),
        _ => Vec::new(),
    };
    spend(app, &spends).await?;
    let changed = app.record.chats.change(chat, member, change, app.clock.at()).await;
    if !matches!(&changed, Ok(Ok(changed)) if changed.has_effect) {
        app.moment.limits.give_back(&spends, app.clock.at()).await;
    }
    let changed = changed??;
    tell(app, chat, &changed).await;
    Ok(changed.chat)
}

/// One unit of the caller's rate for each [`PEOPLE_PER_UNIT`] people that was begun.
fn spends(app: &App, caller: &UserId, people: usize) -> Vec<Spend> {
    let spend = Spend::of_chat(caller, app.config.rate_limit_chat);
    vec![spend; people.div_ceil(PEOPLE_PER_UNIT)]
}

/// Spends all units or none.
async fn spend(app: &App, spends: &[Spend]) -> Result<(), Error> {
    if spends.is_empty() {
        return Ok(());
    }
    let verdicts = app.moment.limits.spend(spends, app.clock.at()).await;
    let wait_ms = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Admitted => None,
        Verdict::Limited { retry_after_ms } => Some(*retry_after_ms),
    });
    let Some(retry_after_ms) = wait_ms.max() else { return Ok(()) };
    let spent = verdicts.iter().filter(|verdict| **verdict == Verdict::Admitted).count();
    app.moment.limits.give_back(&spends[..spent], app.clock.at()).await;
    Err(Error::RateLimited { retry_after_ms })
}

/// Tells the members of a change, and those who no longer are members.
async fn tell(app: &App, chat: ChatId, changed: &Changed) {
    if !changed.has_effect {
        return;
    }
    // A member who has left no longer sees the version. The largest one refuses every audience for a while.
    let version = changed.chat.as_ref().map_or(EVERY_VERSION, |own| own.chat.version);
    let outdated = app.moment.audiences.change(chat, version, app.clock.at());
    let removed = protocol::frame(&Event::RemovedFromChat { chat_id: chat, removed: true });
    let mut frames = vec![Outgoing { frame: removed, connections: &changed.removed }];
    if let Some(own) = &changed.chat {
        let frame = protocol::frame(&Event::Chat { chat: &own.chat });
        frames.push(Outgoing { frame, connections: &changed.connections });
    }
    tokio::join!(outgoing::push(app, &frames), outdated);
}
