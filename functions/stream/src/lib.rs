//! `GET /api/events`: a user's events as Server-Sent Events, for clients whose network breaks WebSockets.
//!
//! A stream is a connection like a socket: it is registered, pushed to, counted for presence and closed in the same ways. Its
//! function first listens, then registers it, then reads what the client missed, so that nothing falls in between; from
//! then on it forwards what is pushed. Where that leaves a gap, or nothing can be heard, it reads the record from the client's
//! position.

mod follow;
mod text;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue, VARY};
use http_body::Frame;
use http_body_util::StreamBody;
use lambda_http::{Request, Response};
use shared::app::App;
use shared::auth;
use shared::cursor::Cursor;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::fields;
use shared::http::reply::Reply;
use shared::ids::{ConnectionId, UserId};
use shared::presence::leaving::leave;
use shared::presence::telling::come_online;
use shared::sockets::connections::{Opened, Opening, Ticket};
use shared::sockets::outgoing;
use shared::telemetry::invocation::{Fact, note};

use crate::follow::Follower;

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[Route { path: "/api/events", methods: &["GET"] }];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "WS_ENDPOINT"];

/// How long a stream lasts at most: API Gateway cuts it at 15 min.
const MAX_DURATION: Duration = Duration::from_secs(14 * 60);
/// How long before the deadline of its call a stream ends.
const DEADLINE_MARGIN_MS: i64 = 10_000;

/// The headers that a page of another origin may read. For all other routes the template says so in `ExposeHeaders`.
pub const EXPOSED_HEADERS: &str = "etag,retry-after,x-request-id,idempotency-replayed";

/// The body of an answer: the stream, or an error.
pub type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// Answers an HTTP call with a stream. Failures become error responses.
pub async fn handle(app: &App, request: Request) -> Response<Body> {
    handle_until(app, request, std::future::pending()).await
}

/// The same, but the stream ends once `stopped` is ready: its process is about to stop.
pub async fn handle_until(
    app: &App,
    request: Request,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Response<Body> {
    let call = Call::new("stream", request);
    let origin = call.header("origin").map(|origin| origin.to_ascii_lowercase());
    let opening = open(app, &call, origin.as_deref(), stopped.boxed());
    let mut response: Response<Body> = match call.perform(app, opening).await {
        Ok(follower) => {
            let events = stream::unfold(follower, |mut follower| async {
                let text = follower.next().await?;
                Some((Ok(Frame::data(Bytes::from(text))), follower))
            });
            call.respond(Ok(Reply::text("", "text/event-stream"))).map(|_| StreamBody::new(events.boxed()))
        }
        Err(error) => refusal(call.respond(Err(error))),
    };
    allow(app, origin.as_deref(), &mut response);
    response
}

fn refusal(response: Response<lambda_http::Body>) -> Response<Body> {
    response.map(|body| {
        let bytes = Bytes::copy_from_slice(body.as_ref());
        StreamBody::new(stream::once(async { Ok(Frame::data(bytes)) }).boxed())
    })
}

/// Lets a page of an allowed origin read the answer: for REST APIs, API Gateway leaves that to the function.
fn allow(app: &App, origin: Option<&str>, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let allowed = origin.filter(|origin| app.config.allowed_origins.allow(origin));
    if let Some(origin) = allowed.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

/// What a call asks for.
struct Asked {
    ticket: Option<String>,
    since: Option<Cursor>,
}

impl Asked {
    fn read(call: &Call) -> Result<Self, Error> {
        let mut parameters = call.query()?;
        let ticket = parameters.text("ticket", 1, 64);
        let since = parameters.cursor("since")?;
        parameters.finish()?;
        let since = match call.header("last-event-id") {
            Some(id) if !id.is_empty() => Some(fields::cursor(&id)?),
            _ => since,
        };
        Ok(Self { ticket, since })
    }
}

async fn open(
    app: &App,
    call: &Call,
    origin: Option<&str>,
    stopped: BoxFuture<'static, ()>,
) -> Result<Follower, Error> {
    call.route(ROUTES)?;
    let (asked, ticket_hash) = match call.header("authorization") {
        Some(_) => {
            let caller = call.caller(app).await?;
            let asked = Asked::read(call)?;
            if asked.ticket.is_some() {
                return Err(Error::field("ticket", "cannot be combined with a token"));
            }
            (asked, ticket_of(app, &caller, origin).await?)
        }
        None => {
            let asked = Asked::read(call)?;
            let ticket = asked.ticket.as_deref().ok_or(Error::InvalidTicket)?;
            let hash = auth::ticket_hash(ticket);
            (asked, hash)
        }
    };
    let id = ConnectionId::of_stream();
    note(Fact::Connection(id.clone()));
    // Before it is registered: what is pushed from then on is heard.
    let listening = app.moment.streams.listen(&id).await;
    let user = register(app, &id, ticket_hash, origin).await?;
    let ends_ms = ends_ms(app, call);
    let mut follower = Follower::new(app.clone(), user, id, listening, ends_ms, stopped);
    match follower.begin(asked.since).await {
        Ok(()) => Ok(follower),
        Err(error) => {
            follower.close().await;
            Err(error)
        }
    }
}

/// A ticket for a caller with a token, so that a stream is registered in one way.
async fn ticket_of(app: &App, caller: &auth::Caller, origin: Option<&str>) -> Result<[u8; 32], Error> {
    let (_, hash) = auth::new_ticket()?;
    let ticket = Ticket {
        hash,
        user: caller.user.clone(),
        origin: origin.map(str::to_owned),
        token_issued_at_s: caller.issued_at_s,
        token_expires_at_ms: caller.token_expires_at_ms,
        expires_at_ms: caller.token_expires_at_ms,
    };
    // It may have been revoked after this process last asked.
    if app.record.connections.issue(&ticket, app.clock.at()).await? { Ok(hash) } else { Err(Error::InvalidToken) }
}

/// Registers the stream, makes its user online, and ends the oldest streams beyond their number.
async fn register(app: &App, id: &ConnectionId, ticket_hash: [u8; 32], origin: Option<&str>) -> Result<UserId, Error> {
    match app.record.connections.open(&Opening { connection: id, ticket_hash, origin }, app.clock.at()).await? {
        Opened::Registered { user, displaced } => {
            // First, so that the user never seems to be offline in between.
            come_online(app, &user, id).await;
            outgoing::end_streams(app, &displaced).await;
            leave(app, displaced.iter().map(|connection| (&user, connection))).await;
            Ok(user)
        }
        Opened::TicketRefused => Err(Error::InvalidTicket),
        Opened::OriginRefused => Err(Error::OriginNotAllowed),
    }
}

/// When the stream ends at the latest, in milliseconds since 1970.
fn ends_ms(app: &App, call: &Call) -> i64 {
    let now_ms = app.clock.now_ms();
    let longest_ms = now_ms.saturating_add_unsigned(MAX_DURATION.as_secs() * 1_000);
    // `cargo lambda watch` sets deadlines that have passed long ago.
    let deadline_ms = call.deadline_ms().filter(|deadline_ms| *deadline_ms > now_ms);
    deadline_ms.map_or(longest_ms, |deadline_ms| longest_ms.min(deadline_ms - DEADLINE_MARGIN_MS))
}
