//! The suite of `shared::inbox::history::History`.

mod expiry;
mod pages;
mod states;
mod trace;
