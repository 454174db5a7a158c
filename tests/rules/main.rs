//! What no compiler checks: who may name what, that template, routes, functions and configuration agree, and a few
//! habits of the tree. Every rule is also shown something that breaks it, so that none can stop to look.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod agreement;
mod circles;
mod imports;
mod manifests;
mod migrations;
mod paths;
mod places;
mod template;
mod tokens;
mod tree;
mod unfinished;
mod waiting;
