//! Third-party programs, run unchanged: the examples, and libraries that talk to API Gateway.
//!
//! A test is skipped only if `tests/run` found its tool missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod compatibility;
mod hearing;
mod lossy_proxy;
mod program;
mod scripts;
mod talking;
