//! Chats in Redis.

pub(crate) mod audience;
pub(crate) mod messages;
