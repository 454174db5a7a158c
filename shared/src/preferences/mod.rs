//! Preferences: what rings for a user, on which channel, and when not. A notification that does not ring stands in the inbox
//! all the same.

mod quiet_hours;
mod read;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::Time;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::notification::Priority;

pub use self::quiet_hours::QuietHours;

/// The most types of one user's preferences.
pub const MAX_TYPES: usize = 200;
/// The most muted chats of one user.
pub const MAX_MUTES: usize = 500;
/// Stands for all types that have no rule of their own.
pub const ANY_TYPE: &str = "*";

/// The promise of the record to keep the preferences of every user.
#[async_trait]
pub trait AllPreferences: Send + Sync {
    /// The preferences of a user; the default if none were ever set.
    async fn preferences(&self, user: &UserId) -> Result<Preferences, StoreError>;

    /// Replaces the preferences of a user. Notifications that arrive from now on follow them.
    async fn set_preferences(&self, user: &UserId, preferences: &Preferences) -> Result<(), StoreError>;
}

/// What one user wants. The default lets everything ring at any time. Serialises as the API's `Preferences`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// By type, or [`ANY_TYPE`].
    pub types: BTreeMap<String, Rule>,
    /// When Web Push waits.
    pub quiet_hours: Option<QuietHours>,
    /// The chats that do not ring until a time, or for ever.
    pub muted_chats: BTreeMap<ChatId, Option<Time>>,
}

/// What a user wants of one type; what is not said follows [`ANY_TYPE`], and otherwise rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Whether open devices ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime: Option<bool>,
    /// Whether Web Push rings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
}

impl Preferences {
    /// Whether a notification of this type and priority rings on open devices.
    pub fn rings(&self, kind: &str, priority: Priority) -> bool {
        self.allows(kind, priority, |rule| rule.realtime)
    }

    /// Whether a notification of this type and priority is sent by Web Push.
    pub fn pushes(&self, kind: &str, priority: Priority) -> bool {
        self.allows(kind, priority, |rule| rule.push)
    }

    fn allows(&self, kind: &str, priority: Priority, of_channel: impl Fn(&Rule) -> Option<bool>) -> bool {
        let rule = |kind| self.types.get(kind).and_then(&of_channel);
        priority == Priority::Critical || rule(kind).or_else(|| rule(ANY_TYPE)).unwrap_or(true)
    }

    /// Whether a chat is muted at a time.
    pub fn mutes(&self, chat: ChatId, now: Time) -> bool {
        self.muted_chats.get(&chat).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// The end of the quiet hours at a time; `None` outside of them.
    pub fn quiet_until(&self, now: Time) -> Option<Time> {
        self.quiet_hours.as_ref()?.end(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(realtime: Option<bool>, push: Option<bool>) -> Rule {
        Rule { realtime, push }
    }

    #[test]
    fn a_type_without_a_rule_follows_that_of_all_and_rings_without_either() {
        let types = [("*", rule(Some(false), None)), ("like", rule(Some(true), Some(false))), ("ad", rule(None, None))];
        let types = types.map(|(kind, rule)| (kind.to_owned(), rule)).into();
        let preferences = Preferences { types, ..Preferences::default() };
        let of = |kind| (preferences.rings(kind, Priority::High), preferences.pushes(kind, Priority::High));
        assert_eq!(of("like"), (true, false));
        assert_eq!(of("ad"), (false, true));
        assert_eq!(of("other"), (false, true));
        assert!(preferences.rings("other", Priority::Critical) && preferences.pushes("like", Priority::Critical));
        assert!(Preferences::default().rings("like", Priority::Low));
    }

    #[test]
    fn a_chat_is_muted_until_its_time_or_for_ever() {
        let [until, for_ever, other] = [1, 2, 3].map(|id| ChatId::from_uuid(uuid::Uuid::from_u128(id)));
        let muted_chats = [(until, Some(Time(10))), (for_ever, None)].into();
        let preferences = Preferences { muted_chats, ..Preferences::default() };
        assert!(preferences.mutes(until, Time(9)) && !preferences.mutes(until, Time(10)));
        assert!(preferences.mutes(for_ever, Time(i64::MAX)) && !preferences.mutes(other, Time(0)));
    }
}
