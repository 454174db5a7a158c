//! The suite of `shared::history::History`.

mod expiry;
mod pages;
mod states;
mod trace;
