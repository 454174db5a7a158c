//! Programs as strangers write them: the examples, and the libraries that speak to API Gateway, run as they are.
//!
//! A test is skipped only for a tool that `tests/run` found missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod compatibility;
mod losing;
mod program;
mod ringing;
