//! The suite of `shared::inbox::Inbox`, one module per operation, and of
//! `shared::inbox::epochs::Epochs` and `shared::inbox::snooze::Snoozes`.

mod acknowledge;
mod append;
mod bounds;
mod change;
mod changes;
mod collapse;
mod content;
mod epochs;
mod list;
mod races;
mod repeat;
mod snooze;
