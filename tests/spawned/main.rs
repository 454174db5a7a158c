//! Functions in processes that the gateway starts, as Lambda does: flows of the real ones, and one that fails in every
//! way.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod command;
mod failing;
mod flows;
mod function;
mod lifecycle;
mod streams;
