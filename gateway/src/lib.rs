//! API Gateway on a laptop: serves a SAM `template.yaml` on one port, with its functions in this process or elsewhere.
//!
//! The HTTP API is at `/`, the WebSocket API at `/{stage}`, its management API at `/{stage}/@connections/{id}`;
//! schedules go by the clock, and `/_gateway/*` shows and moves what has no route on AWS.
//! Functions see the JSON that AWS would send and answer what Lambda would give back.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gateway::{Functions, Options, Template, http_function, listen, serve};
//!
//! let template = Template::read("template.yaml".as_ref())?;
//! let listener = listen("127.0.0.1", 3000).await?;
//! let mut functions = Functions::default();
//! functions.insert(
//!     "Hello",
//!     http_function(|_request| async { Ok(lambda_http::Response::new("hello".into())) }),
//! );
//! let gateway = serve(listener, Options::new(template, functions, shared::clock::Clock::system()))?;
//! println!("ready http://{}", gateway.address());
//! gateway.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What AWS leaves open, and what this gateway does
//!
//! - `DELETE @connections` closes with 1000 "Connection Closed Normally", and `$disconnect` is told so.
//! - Pings are answered but are not activity: a connection that only pings ends after 10 minutes.
//! - permessage-deflate is not negotiated; `Sec-WebSocket-Protocol` is taken from either headers member of the answer.
//! - A push of bytes that are not UTF-8 is 400, one of no bytes an empty text; an empty body of a two-way route is nothing.
//! - A refused handshake carries the function's body and content type, which AWS may withhold: it helps to find out why.
//! - Paths are decoded once. AWS decodes twice and cuts at an encoded `?`, so keep such texts out of paths.
//! - `domainName` carries the port, so that a URL made of it reaches the gateway.
//! - Failed asynchronous calls and schedules are not repeated; nothing is throttled.
//! - Header names in CONNECT events are spelled canonically, not as the client spelled them.

// Carillon itself: the functions on local stores, and what a terminal sees of it.
pub mod client;
pub mod console;
mod handlers;
pub mod local;

// What a caller brings: the template, the functions and the options.
pub mod forward;
pub mod functions;
pub mod in_process;
pub mod options;
pub mod template;

// What runs: the server, and the site that it serves.
mod assemble;
mod dispatch;
mod invocation;
pub mod server;
mod site;
mod task_group;

// The HTTP API.
mod cors;
mod function_output;
mod http_api;
mod http_event;
mod routing;

// The WebSocket API and its management API.
mod connections;
mod handshake;
mod management;
mod route_selection;
mod socket;
mod websocket;
mod websocket_event;

// Schedules, and what only this gateway serves.
mod gateway_routes;
pub mod schedule_expression;
mod schedules;

// Words that the others share.
mod ids;
mod request;
mod response;
mod timestamps;

pub use functions::{Function, FunctionError, Functions};
pub use in_process::{event_function, http_function};
pub use options::{AllowsOrigin, Options, ServeError, SignToken, Token, TokenRequest};
pub use request::is_loopback_origin;
pub use server::{CallError, DEFAULT_URL, Gateway, ListenError, Listener, listen, serve};
pub use template::{Template, TemplateError};
