//! Audiences of chats in Redis: the caller of `remember_audience.lua` and `recall_audience.lua`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::chat::audience::{AUDIENCE_MS, Audience, CHANGE_MS};
use crate::clock::At;
use crate::ids::{ChatId, ConnectionId, UserId};
use crate::moment::redis::keys::Keys;
use crate::moment::redis::steps::{self, Answer, Script, Step, read};
use crate::sockets::connections::Connection;

static REMEMBER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("remember_audience.lua")));
static RECALL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("recall_audience.lua")));

/// An audience as it is kept: a format that only gains members.
#[derive(Serialize, Deserialize)]
struct Kept<S> {
    members: Vec<S>,
    connections: Vec<KeptConnection<S>>,
}

#[derive(Serialize, Deserialize)]
struct KeptConnection<S> {
    id: S,
    /// The place of its user among the members.
    of: usize,
    since: i64,
    until: i64,
}

fn encode(audience: &Audience) -> String {
    let connection = |connection: &'_ Connection| {
        let of = audience.members.iter().position(|member| *member == connection.user)?;
        let (since, until) = (connection.connected_at_ms, connection.token_expires_at_ms);
        Some(KeptConnection { id: connection.id.to_string(), of, since, until })
    };
    let kept = Kept {
        members: audience.members.iter().map(ToString::to_string).collect(),
        connections: audience.connections.iter().filter_map(connection).collect(),
    };
    serde_json::to_string(&kept).expect("strings and numbers are JSON")
}

/// `None` if the text is not an audience as [`encode`] writes it.
fn decode(version: i64, text: &str) -> Option<Audience> {
    let kept: Kept<String> = serde_json::from_str(text).ok()?;
    let members: Vec<UserId> = kept.members.into_iter().map(UserId::stored).collect();
    let connection = |kept: KeptConnection<String>| {
        let user = members.get(kept.of)?.clone();
        let (connected_at_ms, token_expires_at_ms) = (kept.since, kept.until);
        Some(Connection { id: ConnectionId::new(kept.id), user, connected_at_ms, token_expires_at_ms })
    };
    let connections = kept.connections.into_iter().map(connection).collect::<Option<Vec<_>>>()?;
    Some(Audience { version, members, connections })
}

pub(crate) fn remember(keys: &Keys, chat: ChatId, audience: &Audience, age_ms: i64, at: At) -> Step {
    write(keys, chat, audience.version, age_ms, encode(audience), at)
}

pub(crate) fn change(keys: &Keys, chat: ChatId, version: i64, at: At) -> Step {
    write(keys, chat, version, 0, String::new(), at)
}

fn write(keys: &Keys, chat: ChatId, version: i64, age_ms: i64, text: String, at: At) -> Step {
    let step = Step::script(&REMEMBER, vec![keys.audience(chat)]).arg(steps::now_ms(at));
    step.arg(version).arg(age_ms).arg(CHANGE_MS).arg(text)
}

/// How many values were foreign.
pub(crate) fn read_written(answer: Answer) -> u64 {
    read::<[u64; 1]>(answer).map_or(0, |[foreign]| foreign)
}

pub(crate) fn recall(keys: &Keys, chat: ChatId, at: At) -> Step {
    Step::script(&RECALL, vec![keys.audience(chat)]).arg(steps::now_ms(at))
}

/// The audience, if it is recent, and how many values were foreign.
pub(crate) fn read_recalled(answer: Answer, max_age_ms: i64) -> (Option<Audience>, u64) {
    let Some((foreign, age_ms, version, text)) = read::<(u64, i64, i64, Vec<u8>)>(answer) else { return (None, 0) };
    if text.is_empty() || age_ms >= max_age_ms.min(AUDIENCE_MS) {
        return (None, foreign);
    }
    let audience = std::str::from_utf8(&text).ok().and_then(|text| decode(version, text));
    let foreign = foreign + u64::from(audience.is_none());
    (audience, foreign)
}
