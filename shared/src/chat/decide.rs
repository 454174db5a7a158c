//! What a member may change of a chat, decided on the state that a store has locked. Every store decides by it.

use crate::chat::chats::Change;
use crate::chat::{Kind, Refusal, Status};
use crate::ids::UserId;

/// A chat as far as a decision depends on it.
#[derive(Debug)]
pub struct Standing {
    /// Whether it is direct.
    pub kind: Kind,
    /// Whether it was accepted.
    pub status: Status,
    /// Who created it; `None` if that user was erased.
    pub created_by: Option<UserId>,
    /// Who declined it.
    pub declined_by: Option<UserId>,
    /// Who owns the group.
    pub owner: Option<UserId>,
}

/// What a change comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It changes nothing.
    Nothing,
    /// The member wants to be in this group.
    Involve,
    /// The chat gets this status.
    Respond(Status),
    /// The group gets this title.
    Rename(&'a str),
    /// These join the group.
    Add(&'a [UserId]),
    /// These no longer are in the group.
    Remove(&'a [UserId]),
    /// The member no longer is in the group.
    Leave,
}

/// Decides on a change by one of the chat's members.
pub fn decide<'a>(chat: &Standing, member: &UserId, change: &'a Change) -> Result<Decision<'a>, Refusal> {
    let is = |user: &Option<UserId>| user.as_ref() == Some(member);
    match (chat.kind, change) {
        (Kind::Direct, Change::Accept) => match chat.status {
            Status::Accepted => Ok(Decision::Nothing),
            Status::Pending if is(&chat.created_by) => Err(Refusal::Conflict("the other member has to accept it")),
            Status::Declined if !is(&chat.declined_by) => {
                Err(Refusal::Conflict("only the member who declined can accept it"))
            }
            Status::Pending | Status::Declined => Ok(Decision::Respond(Status::Accepted)),
        },
        (Kind::Direct, Change::Decline) if chat.status == Status::Declined => Ok(Decision::Nothing),
        (Kind::Direct, Change::Decline) => Ok(Decision::Respond(Status::Declined)),
        (Kind::Direct, _) => Err(Refusal::Conflict("a direct chat has no title, and always the same two members")),
        (Kind::Group, Change::Accept) => Ok(Decision::Involve),
        (Kind::Group, Change::Decline) => Err(Refusal::Conflict("leave a group instead of declining it")),
        (Kind::Group, Change::Rename(title)) => Ok(Decision::Rename(title)),
        (Kind::Group, Change::Add(users)) => Ok(Decision::Add(users)),
        (Kind::Group, Change::Remove(_)) if !is(&chat.owner) => {
            Err(Refusal::NotAllowed("only the owner removes members"))
        }
        (Kind::Group, Change::Remove(users)) if users.contains(member) => {
            Err(Refusal::Conflict("leave the group instead"))
        }
        (Kind::Group, Change::Remove(users)) => Ok(Decision::Remove(users)),
        (Kind::Group, Change::Leave) => Ok(Decision::Leave),
    }
}

impl Refusal {
    /// Why a member may not write in a chat of this status.
    pub fn of_writing(status: Status) -> Self {
        match status {
            Status::Declined => Self::Conflict("the chat was declined"),
            Status::Pending => Self::NotAllowed("until the chat is accepted, its creator may write three messages"),
            // A concurrent change accepted it after the message was refused.
            Status::Accepted => Self::NotAllowed("the chat was not accepted yet"),
        }
    }

    /// A group would have too many members.
    pub const FULL: Self = Self::Conflict("a chat has at most 1,000 members");
}
