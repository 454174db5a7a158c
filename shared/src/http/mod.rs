//! One HTTP call: reading the request with its fields and JSON, page tokens, and the reply.

pub mod call;
pub mod fields;
pub mod json;
pub mod page_token;
pub mod reply;
