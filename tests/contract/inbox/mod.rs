//! The suite of `shared::inbox::Inbox`, by what is asked of it.

mod acknowledge;
mod append;
mod change;
mod changes;
mod collapse;
mod content;
mod list;
mod races;
mod repeat;
