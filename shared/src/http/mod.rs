//! HTTP calls: routing, reading JSON bodies and queries, page tokens, and the response.

pub mod call;
pub mod data;
pub mod fields;
pub mod json;
pub mod page_token;
pub mod reply;
