//! What all Carillon functions share. A function is a thin crate that reads its event, calls this one, and replies.
//!
//! - *Domains* define what is done and what stores promise: [`http`] (calls and responses), [`auth`] (tokens and
//!   tickets), [`inbox`] (sends and notifications), [`delivery`] (the way to the devices), [`sockets`] (connections and
//!   pushes to them), [`emit`] (events for who is there), [`chat`] (chats, messages and read marks), [`fast`] (what
//!   the moment has before the record), [`presence`] (who is connected), [`preferences`] (what rings for whom), [`web_push`]
//!   (pushes to browsers that are not connected), [`users`] (erasing one), [`limits`] (rate limits), [`telemetry`] (counts
//!   and health), [`doctor`] (what is wrong with a deployment).
//! - Every domain uses [`app`], [`clock`], [`config`], [`cursor`], [`error`], [`ids`], [`page_key`], [`protocol`],
//!   [`secrets`] and [`text`].
//! - *Stores* keep the promises: [`record`] for what must outlive everything (Postgres, SQLite), [`moment`] for what may
//!   vanish without loss (Redis, memory).
//! - [`function`] starts a deployed function.

pub mod app;
pub mod auth;
mod aws;
pub mod chat;
pub mod clock;
pub mod config;
pub mod cursor;
pub mod delivery;
pub mod doctor;
pub mod emit;
pub mod error;
pub mod fast;
pub mod function;
pub mod http;
pub mod ids;
pub mod inbox;
pub mod limits;
pub mod moment;
pub mod page_key;
pub mod preferences;
pub mod presence;
pub mod protocol;
pub mod record;
pub mod secrets;
pub mod sockets;
pub mod telemetry;
pub mod text;
pub mod users;
pub mod web_push;
