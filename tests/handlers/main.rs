//! Functions on recorded events of API Gateway, without a gateway: what each answers, what it pushes, and what it
//! costs.

mod budget;
mod delivering;
mod drain;
mod http_functions;
mod socket_functions;
