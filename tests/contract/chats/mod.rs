//! The suites of `shared::chat::chats::Chats` and `shared::chat::messages::Messages`, and their vocabulary: users who ask
//! one another, say something and read it.

mod append;
mod counts;
mod create;
mod groups;
mod hear;
mod history;
mod known;
mod list;
mod members;
mod pace;
mod push;
mod races;
mod read;
mod respond;

use shared::chat::chats::{Change, Changed, Created, NewChat};
use shared::chat::message::Message;
use shared::chat::messages::{Appended, History, Marked, NewMessage, Range, Recipients};
use shared::chat::{Kind, OwnChat, Refusal};
use shared::clock::At;
use shared::ids::{ChatId, MessageId, sha256};
use shared::inbox::bounds::Bounds;
use shared::sockets::connections::Connection;

use crate::record::{Record, at, user, users};

/// The refusal of what a direct chat does not have.
const DIRECT: Refusal = Refusal::Conflict("a direct chat has no title, and always the same two members");

fn pair(one: &str, other: &str) -> ChatId {
    ChatId::of_pair(&user(one), &user(other))
}

impl Record {
    /// Asks another user for a direct chat.
    async fn ask(&self, name: &str, other: &str, at: At) -> Created {
        let (creator, others) = (user(name), users(&[other]));
        let new = NewChat {
            id: pair(name, other),
            kind: Kind::Direct,
            title: None,
            creator: &creator,
            others: &others,
            // Each of the two names the other, so what they ask for differs.
            fingerprint: sha256(other.as_bytes()),
        };
        self.chats().create(&new, at).await.unwrap()
    }

    /// A direct chat that alice created and bob has not accepted.
    pub(crate) async fn pending(&self) -> ChatId {
        let created = self.ask("alice", "bob", at(0)).await;
        assert!(matches!(created, Created::New(_)), "{created:?}");
        pair("alice", "bob")
    }

    /// A direct chat that alice created and bob accepted.
    pub(crate) async fn accepted(&self) -> ChatId {
        let chat = self.pending().await;
        self.changed(chat, "bob", Change::Accept).await;
        chat
    }

    /// Creates a group. The client id, which is its title too, and its members identify the request.
    async fn create_group(&self, client_id: &str, name: &str, others: &[&str], at: At) -> Created {
        let (creator, members) = (user(name), users(others));
        let new = NewChat {
            id: ChatId::of_group(&creator, client_id),
            kind: Kind::Group,
            title: Some(client_id),
            creator: &creator,
            others: &members,
            fingerprint: sha256(others.join(" ").as_bytes()),
        };
        self.chats().create(&new, at).await.unwrap()
    }

    /// A group that alice owns.
    pub(crate) async fn group(&self, others: &[&str]) -> ChatId {
        let created = self.create_group("climbing", "alice", others, at(0)).await;
        assert!(matches!(created, Created::New(_)), "{created:?}");
        ChatId::of_group(&user("alice"), "climbing")
    }

    async fn change_chat(&self, chat: ChatId, name: &str, change: Change) -> Result<Changed, Refusal> {
        self.chats().change(chat, &user(name), &change, at(0)).await.unwrap()
    }

    /// Changes a chat, which has an effect and raises its version by one.
    pub(crate) async fn changed(&self, chat: ChatId, name: &str, change: Change) -> Changed {
        let before = self.chat(chat, name).await.chat.version;
        let changed = self.change_chat(chat, name, change).await.unwrap();
        assert!(changed.has_effect);
        if let Some(after) = &changed.chat {
            assert_eq!(after.chat.version, before + 1);
        }
        changed
    }

    /// Performs a change without effect, which tells no one.
    async fn unchanged(&self, chat: ChatId, name: &str, change: Change) {
        let before = self.chat(chat, name).await.chat.version;
        let changed = self.change_chat(chat, name, change).await.unwrap();
        assert!(!changed.has_effect);
        assert!(changed.connections.is_empty() && changed.removed.is_empty(), "{changed:?}");
        assert_eq!(changed.chat.unwrap().chat.version, before);
    }

    /// The refusal of a change that must not be made, and makes no difference.
    async fn refusal(&self, chat: ChatId, name: &str, change: Change) -> Refusal {
        let before = self.chats().find(chat, &user("alice")).await.unwrap();
        let refusal = self.change_chat(chat, name, change).await.unwrap_err();
        let after = self.chats().find(chat, &user("alice")).await.unwrap();
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        refusal
    }

    /// A chat as its member sees it.
    async fn chat(&self, chat: ChatId, name: &str) -> OwnChat {
        self.chats().find(chat, &user(name)).await.unwrap().expect("the user is a member")
    }

    /// The members in the order of joining, and who owns the chat.
    async fn members(&self, chat: ChatId, name: &str) -> (Vec<String>, Option<String>) {
        members::all(self, chat, name).await
    }

    async fn write(&self, chat: ChatId, name: &str, client_id: &str, body: &str, at: At) -> Appended {
        let sender = user(name);
        let new = NewMessage {
            id: MessageId::of(chat, &sender, client_id),
            chat,
            sender: &sender,
            client_id,
            body,
            data: "{}",
            trace: None,
        };
        self.messages().append(&new, at).await.unwrap()
    }

    /// Says something new, with the text as its client id.
    pub(crate) async fn say(&self, chat: ChatId, name: &str, text: &str, at: At) -> (Message, Recipients) {
        match self.write(chat, name, text, text, at).await {
            Appended::Stored { message, recipients } => (message, recipients),
            other => panic!("a new message was not stored: {other:?}"),
        }
    }

    /// Says several things, at the beginning.
    async fn say_all(&self, chat: ChatId, name: &str, texts: &[&str]) {
        for text in texts {
            self.say(chat, name, text, at(0)).await;
        }
    }

    async fn read_through(&self, chat: ChatId, name: &str, seq: i64) -> Marked {
        self.messages().read(chat, &user(name), seq, at(0)).await.unwrap().expect("the user is a member")
    }

    pub(crate) async fn hide(&self, chat: ChatId, name: &str, hidden: bool) {
        assert!(self.chats().set_hidden(chat, &user(name), hidden, at(0)).await.unwrap());
    }

    pub(crate) async fn messages_in(&self, chat: ChatId, name: &str, range: Range, bounds: Bounds) -> History {
        self.messages().history(chat, &user(name), range, bounds, &[]).await.unwrap().expect("the user is a member")
    }

    /// All that a member sees.
    async fn texts(&self, chat: ChatId, name: &str) -> Vec<String> {
        let history = self.messages_in(chat, name, Range::Last, Bounds::default()).await;
        assert!(history.complete);
        texts(&history.messages)
    }
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.body.clone()).collect()
}

/// The ids of connections in alphabetical order.
fn ids(connections: &[Connection]) -> Vec<&str> {
    let mut ids: Vec<&str> = connections.iter().map(|connection| connection.id.as_str()).collect();
    ids.sort_unstable();
    ids
}
