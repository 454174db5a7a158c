//! One HTTP call: reading it, its fields and JSON, and the reply.

pub mod call;
pub mod fields;
pub mod json;
pub mod reply;
