//! `$default` of the WebSocket API: answers the frames that clients send.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::auth;
use shared::chat::message::Said;
use shared::chat::writing::{self, Written};
use shared::chat::{reading, typing};
use shared::clock::Time;
use shared::error::Error;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;
use shared::inbox::Change;
use shared::inbox::announce::announce;
use shared::inbox::bounds::Bounds;
use shared::inbox::sync;
use shared::limits::{Rate, Spend, Verdict};
use shared::presence::telling::{ask, stay_online};
use shared::protocol::{self, Action, ClientFrame, MAX_FRAME_BYTES, MAX_SYNC_BYTES, ReplyFrame};
use shared::sockets::connections::{Connection, Extended};
use shared::sockets::{flood, outgoing};
use shared::telemetry::invocation::{self, Fact, Origin, note, note_error};

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// What one answer to `sync` contains at most.
const SYNC_LIMITS: sync::Limits = sync::Limits { bounds: Bounds::within(200, MAX_SYNC_BYTES), event_bytes: 16 * 1_024 };
/// How often a connection over its rate is told so. Its other frames are ignored.
const TELLING: Rate = Rate { count: 1, window_ms: 1_000 };
/// How often it is told before it is closed.
const WARNINGS: Rate = Rate { count: 5, window_ms: 60_000 };
/// How long frames of a closed connection are ignored, in milliseconds: longer than any is under way.
const CLOSED_MS: i64 = 60_000;

/// Answers a frame. Failures become error frames; some of them also close the connection.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    let context = event.request_context;
    // API Gateway sets the connection id in every WebSocket event.
    let id = ConnectionId::new(context.connection_id.unwrap_or_default());
    let origin = Origin::socket("message", context.request_id.as_deref());
    let answering = answer(app, id, event.body.as_deref().unwrap_or_default());
    invocation::run(origin, answering, |reply| Some(reply.status())).await
}

async fn answer(app: &App, id: ConnectionId, text: &str) -> SocketReply {
    note(Fact::Route("$default"));
    note(Fact::Connection(id.clone()));
    let ClientFrame { reference, action } = ClientFrame::read(text);
    if let Ok(action) = &action {
        note_action(action);
    }
    let reference = reference.as_deref();
    let connection = match admit(app, &id).await {
        Ok(connection) => connection,
        Err(Refusal::Reported(error)) => return report(app, reference, &error).await,
        Err(Refusal::Closed(error)) => return close(app, &id, reference, &error).await,
        Err(Refusal::Ignored) => return SocketReply::ok(),
    };
    let answer = async {
        match action {
            Ok(action) => act(app, &connection, reference, action).await,
            Err(error) => Err(error),
        }
    };
    let (answer, ()) = tokio::join!(answer, stay_online(app, &connection));
    match answer {
        Ok(Some(frame)) => SocketReply::frame(&frame),
        Ok(None) => SocketReply::ok(),
        Err(Error::InvalidTicket) => close(app, &id, reference, &Error::InvalidTicket).await,
        Err(error) => report(app, reference, &error).await,
    }
}

/// Notes what a frame asks for, in the log.
fn note_action(action: &Action) {
    note(Fact::Action(action.name()));
    if let Action::SendMessage(chat, _) | Action::ReadChat(chat, _) | Action::Typing(chat, _) = action {
        note(Fact::Chat(*chat));
    }
}

/// Answers with an error frame. Server errors are counted.
async fn report(app: &App, reference: Option<&str>, error: &Error) -> SocketReply {
    note_error(error);
    if error.is_server_error() {
        app.report_error().await;
    }
    SocketReply::frame(&protocol::frame(&ReplyFrame::error(reference, error)))
}

/// Why a frame is not acted on.
enum Refusal {
    /// The client gets the error and stays connected.
    Reported(Error),
    /// The client gets the error and is disconnected.
    Closed(Error),
    /// It was told already.
    Ignored,
}

/// The connection that sent the frame, if its token is still valid and it is within its rate limit.
async fn admit(app: &App, id: &ConnectionId) -> Result<Connection, Refusal> {
    let now_ms = app.clock.now_ms();
    if app.flood.is_ignored(id, now_ms) {
        return Err(Refusal::Ignored);
    }
    let frame = flood::frame(id, app.config.rate_limit_frames);
    // What reaches this process alone may be too much: that is decided without asking anyone.
    if let Verdict::Limited { retry_after_ms } = app.flood.count(&frame, now_ms) {
        return Err(over_rate(app, id, retry_after_ms).await);
    }
    let spends = [frame];
    let (connection, verdicts) =
        tokio::join!(app.record.connections.find(id), app.moment.limits.spend(&spends, app.clock.at()));
    if let [Verdict::Limited { retry_after_ms }] = verdicts[..] {
        return Err(over_rate(app, id, retry_after_ms).await);
    }
    let connection = connection.map_err(|error| Refusal::Reported(error.into()))?;
    let connection = connection.ok_or(Refusal::Closed(Error::InvalidTicket))?;
    if connection.token_expires_at_ms <= now_ms {
        return Err(Refusal::Closed(Error::TokenExpired));
    }
    Ok(connection)
}

/// Tells a connection that it is over its rate, at most once a second over all processes, and closes it if that does not
/// help. Until it would be told again its frames are ignored.
async fn over_rate(app: &App, id: &ConnectionId, retry_after_ms: u64) -> Refusal {
    let now_ms = app.clock.now_ms();
    let spend = |what, rate| [Spend { bucket: format!("{what} {id}"), rate }];
    let telling = app.moment.limits.spend(&spend("telling", TELLING), app.clock.at()).await;
    if let [Verdict::Limited { retry_after_ms: wait_ms }] = telling[..] {
        app.flood.ignore(id, now_ms.saturating_add_unsigned(wait_ms), now_ms);
        return Refusal::Ignored;
    }
    app.flood.ignore(id, now_ms + i64::from(TELLING.window_ms), now_ms);
    let error = Error::RateLimited { retry_after_ms };
    match app.moment.limits.spend(&spend("warnings", WARNINGS), app.clock.at()).await[..] {
        [Verdict::Admitted] => Refusal::Reported(error),
        _ => Refusal::Closed(error),
    }
}

async fn act(
    app: &App,
    connection: &Connection,
    reference: Option<&str>,
    action: Action,
) -> Result<Option<protocol::Frame>, Error> {
    let user = &connection.user;
    let reply = match action {
        Action::Ping => {
            let (position, tag) = sync::standing(app, user).await?;
            let etag = tag.to_string();
            return Ok(Some(protocol::frame(&ReplyFrame::Pong { reference, cursor: position.cursor(), etag: &etag })));
        }
        Action::Sync(since) => {
            let sync = sync::sync(app, user, since, SYNC_LIMITS).await?;
            return Ok(Some(protocol::frame(&ReplyFrame::Sync { reference, sync: &sync })));
        }
        Action::Ack(cursor) => {
            let known = app.record.inbox.acknowledge(user, cursor, app.clock.at()).await?;
            return if known { Ok(None) } else { Err(Error::CursorExpired) };
        }
        Action::Change(change) => {
            let changed = app.record.inbox.change(user, &change, app.clock.at()).await?.ok_or(Error::CursorExpired)?;
            announce(app, &[&changed], change.kind()).await;
            let updated = matches!(change, Change::ReadAll { .. }).then_some(changed.ids.len());
            ReplyFrame::Ok { reference, updated, unread: None, expires_at: None }
        }
        Action::SendMessage(chat, draft) => {
            let Written { message, .. } = writing::write(app, user, chat, &draft).await?;
            return Ok(Some(sent(reference, &message)));
        }
        Action::ReadChat(chat, seq) => {
            let unread = reading::read(app, user, chat, seq).await?;
            ReplyFrame::Ok { reference, updated: None, unread: Some(unread), expires_at: None }
        }
        Action::Typing(chat, on) => {
            typing::tell(app, user, chat, on).await?;
            return Ok(None);
        }
        Action::Presence(among) => {
            let users = ask(app, Some(user), &among).await?;
            let frame = protocol::frame(&ReplyFrame::Presence { reference, users: &users });
            // Only ids that are long make it so large, and the client can ask about them in two frames.
            let fits = frame.len() <= MAX_FRAME_BYTES;
            return if fits { Ok(Some(frame)) } else { Err(Error::PayloadTooLarge("a reply must be at most 32 KB")) };
        }
        Action::Auth(ticket) => {
            let hash = auth::ticket_hash(&ticket);
            match app.record.connections.extend(&connection.id, &hash, app.clock.at()).await? {
                Extended::Until(end_ms) => {
                    ReplyFrame::Ok { reference, updated: None, unread: None, expires_at: Some(Time(end_ms)) }
                }
                Extended::Refused => return Err(Error::InvalidTicket),
            }
        }
    };
    Ok(Some(protocol::frame(&reply)))
}

/// The reply to `sendMessage`. A message that is too large for a frame is fetched from the chat's history.
fn sent(reference: Option<&str>, message: &Said) -> protocol::Frame {
    let frame = protocol::frame(&ReplyFrame::Sent { reference, message });
    if frame.len() <= MAX_FRAME_BYTES {
        return frame;
    }
    protocol::frame(&ReplyFrame::SentTooLarge { reference, chat_id: message.chat(), seq: message.seq() })
}

/// Reports the error and closes the connection. Frames that were already under way are ignored.
async fn close(app: &App, id: &ConnectionId, reference: Option<&str>, error: &Error) -> SocketReply {
    note_error(error);
    let now_ms = app.clock.now_ms();
    app.flood.ignore(id, now_ms + CLOSED_MS, now_ms);
    tracing::info!(connection = %id, code = error.code(), "a connection is closed because of a frame");
    let frame = protocol::frame(&ReplyFrame::error(reference, error));
    if let Err(error) = outgoing::dismiss(app, std::slice::from_ref(id), &frame).await {
        tracing::warn!(%error, connection = %id, "failed to remove a closed connection");
    }
    SocketReply::ok()
}
