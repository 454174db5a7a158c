//! Lists: a caller's chats, a chat's members, a chat's messages.

use serde::Serialize;
use shared::app::App;
use shared::auth::Caller;
use shared::chat::chats::{MemberPage, Page};
use shared::chat::history;
use shared::chat::message::Message;
use shared::chat::messages::{History, Range};
use shared::chat::{OwnChat, Participant};
use shared::clock::Time;
use shared::error::Error;
use shared::http::call::Call;
use shared::http::page_token::{self, List};
use shared::http::reply::Reply;
use shared::inbox::bounds::Bounds;
use shared::page_key::PageKey;
use shared::protocol::MAX_SEQ;

pub(crate) async fn chats(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let mut fields = call.query()?;
    let after = page_token::take(&mut fields)?;
    let limit = fields.limit(50, 200);
    let hidden = fields.flag("hidden");
    fields.finish()?;
    let page = Page { after, bounds: Bounds::of_answer(limit), hidden };
    let (chats, more) = app.record.chats.list(&caller.user, &page).await?;
    let place = |chat: &OwnChat| PageKey { at_ms: chat.active_at.0, id: chat.chat.id };
    let next = chats.last().filter(|_| more).map(place);
    Ok(Reply::ok(&List::new(chats, next)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedMember {
    #[serde(flatten)]
    participant: Participant,
    joined_at: Time,
}

pub(crate) async fn members(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let mut fields = call.query()?;
    let after = page_token::take(&mut fields)?;
    let limit = fields.limit(50, 200);
    fields.finish()?;
    let page = MemberPage { after, limit };
    let (members, more) = app.record.chats.members(id, &caller.user, &page).await?.ok_or(Error::NotFound)?;
    let next = members.last().filter(|_| more).map(|last| last.number);
    let listed =
        members.into_iter().map(|member| ListedMember { participant: member.participant, joined_at: member.joined_at });
    Ok(Reply::ok(&List::new(listed.collect(), next)))
}

#[derive(Serialize)]
struct Messages {
    items: Vec<Message>,
    complete: bool,
}

pub(crate) async fn messages(app: &App, call: &Call, caller: &Caller) -> Result<Reply, Error> {
    let id = call.chat_id()?;
    let mut fields = call.query()?;
    let before = fields.whole_parameter("before", MAX_SEQ);
    let after = fields.whole_parameter("after", MAX_SEQ);
    let limit = fields.limit(50, 200);
    if before.is_some() && after.is_some() {
        fields.problem("after", "cannot be combined with before");
    }
    fields.finish()?;
    let range = match (before, after) {
        (Some(seq), _) => Range::Before(seq),
        (None, Some(seq)) => Range::After(seq),
        (None, None) => Range::Last,
    };
    let read = history::read(app, &caller.user, id, range, Bounds::of_answer(limit)).await?;
    let History { messages: items, complete, .. } = read.ok_or(Error::NotFound)?;
    Ok(Reply::ok(&Messages { items, complete }))
}
