//! Rules that the compiler does not check: which code may name what, that template, routes, functions and configuration
//! agree, and a few conventions of the repository. Every rule is also tested with input that breaks it.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod access;
mod agreement;
mod circles;
mod described;
mod imports;
mod manifests;
mod metric_names;
mod migrations;
mod paths;
mod places;
mod template;
mod tokens;
mod tree;
mod unfinished;
mod waiting;
