//! What is wrong with a deployment, and what to do about it: findings about its variables, and about what its stores and
//! its sockets say of themselves. Performs no calls: [`function::doctor`](crate::function::doctor) does.

pub mod clocks;
pub mod database;
pub mod extent;
pub mod finding;
pub mod identity;
pub mod instances;
pub mod management;
pub mod remedies;
pub mod secrets;
pub mod variables;
mod weak;
