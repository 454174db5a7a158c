//! A local API Gateway: serves a SAM `template.yaml` on one port, with its functions in this process, in processes that it
//! starts as Lambda does, or elsewhere.
//!
//! The HTTP API is at `/`, the WebSocket API at `/{stage}`, its management API at `/{stage}/@connections/{id}`; the REST
//! API is at the `/{stage}` of its own, and at `/` where the HTTP API has no route but `$default`; schedules fire by the
//! clock, and `/_gateway/*` offers what AWS has no route for, such as signing tokens.
//! Functions receive the JSON that AWS would send and return the JSON that Lambda would pass back.
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
//! # Behaviour that AWS leaves open, and deliberate differences
//!
//! - `DELETE @connections` closes with 1000 "Connection Closed Normally"; `$disconnect` receives that code and reason.
//! - Pings are answered but do not count as activity: a connection that only pings is closed after 10 minutes.
//! - permessage-deflate is not negotiated. `Sec-WebSocket-Protocol` is read from `headers` or `multiValueHeaders`.
//! - Pushing bytes that are not UTF-8 is a 400; pushing no bytes sends an empty text message.
//!   An empty body returned by a two-way route sends nothing.
//! - A refused handshake passes on the function's body and content type, which AWS may withhold, to ease debugging.
//! - Paths are decoded once. AWS decodes twice and truncates at an encoded `?`, so avoid `%25` and `%3F` in paths.
//! - `domainName` includes the port, so that a URL built from it reaches the gateway.
//! - Failed asynchronous invocations and schedules are not retried; nothing is throttled but functions in sandboxes that
//!   have more calls than are reserved for them.
//! - At most 8 messages of one connection are in flight; after that its socket is not read until one has ended.
//! - A client's message has at most 32 KiB, in however many frames. AWS allows 128 KiB in frames of 32 KiB.
//! - An answer over 128 KiB on a two-way route is replaced by the frame `Internal server error`.
//! - A request whose event is over Lambda's 6 MiB is a 413 like one over API Gateway's own 10 MB.
//! - What clients may hold (time, connections, memory of bodies) is bounded by [`Limits`].
//! - Of a REST API, only routes that stream are served (`ResponseTransferMode: RESPONSE_STREAM`). Their bandwidth is not
//!   limited; AWS limits it to 2 MB/s after the first 10 MB.
//! - If the function behind such a route does not stream, the client gets its JSON as it is. That has been observed of
//!   function URLs; REST APIs may answer 502 instead.
//! - A stream that fails, or is cut off, ends without its last chunk. `lambda_runtime` 1.5 first writes the error's text
//!   to the body, which only clients of functions in other processes see here.
//! - A client that disconnects does not end the invocation that streams to it, as on AWS, unless
//!   [`Options::cancel_on_disconnect`] is set.
//! - Header names in CONNECT events and those of the REST API have
//!   their canonical spelling, not the client's.

// Carillon itself: its functions on local stores, its commands, and what they print.
mod api;
pub mod client;
pub mod console;
pub mod doctor;
mod handlers;
pub mod keys;
pub mod local;
mod private_file;
mod spawned;
pub mod vapid;
pub mod why;

// What the embedding program provides: the template, the functions and the options.
pub mod forward;
pub mod functions;
pub mod in_process;
pub mod limits;
pub mod options;
pub mod sandboxes;
pub mod template;

// The server, the site that it serves, and the dispatch between them.
mod addresses;
mod assemble;
mod client_stream;
mod dispatch;
mod invocation;
mod refusals;
pub mod server;
mod site;
mod task_group;

// The HTTP API.
mod cors;
mod function_output;
mod http_api;
mod http_event;
mod routing;

// The REST API, whose routes stream.
mod prelude;
mod relay;
mod rest_api;
mod rest_cors;
mod rest_event;

// The WebSocket API and its management API.
mod connections;
mod handshake;
mod in_flight;
mod management;
mod outgoing;
mod route_selection;
mod socket;
mod websocket;
mod websocket_event;

// Schedules, and the routes that only this gateway has.
mod gateway_routes;
pub mod schedule_expression;
mod schedules;

// Shared by the modules above.
mod body;
mod ids;
mod multi_value;
mod request;
mod response;
mod timestamps;

pub use functions::{Chunks, Function, FunctionError, Functions, StreamedAnswer};
pub use in_process::{event_function, http_function, streaming_function};
pub use limits::Limits;
pub use options::{AllowsOrigin, Options, ServeError, SignToken, Token, TokenRequest};
pub use request::is_loopback_origin;
pub use server::{CallError, DEFAULT_URL, Gateway, ListenError, Listener, listen, serve};
pub use template::{Template, TemplateError};
