//! `$connect`: redeems the ticket, registers the connection and makes its user online. The socket opens only after a 2xx response.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::auth;
use shared::error::Error;
use shared::http::fields;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;
use shared::presence::leaving::leave;
use shared::presence::telling::come_online;
use shared::sockets::connections::{Opened, Opening};
use shared::sockets::outgoing;
use shared::telemetry::invocation::{self, Fact, Origin, note, note_error};

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// Answers a WebSocket handshake: 200 admits the connection, any other status refuses it.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    let request_id = event.request_context.request_id.as_deref();
    let opening = async {
        match open(app, &event).await {
            Ok(()) => SocketReply::ok(),
            Err(error) => {
                note_error(&error);
                SocketReply::refused(&error, request_id.unwrap_or_default())
            }
        }
    };
    let origin = Origin::socket("connect", request_id);
    invocation::run(origin, opening, |reply| Some(reply.status())).await
}

async fn open(app: &App, event: &ApiGatewayWebsocketProxyRequest) -> Result<(), Error> {
    note(Fact::Route("$connect"));
    let connection = event.request_context.connection_id.as_deref().map(ConnectionId::new).ok_or(Error::Internal)?;
    note(Fact::Connection(connection.clone()));
    // Logs keep URLs, so a token must not be in one. Any other parameter would be ignored, so it is refused as well.
    if let Some((name, _)) = event.query_string_parameters.iter().find(|(name, _)| *name != "ticket") {
        return Err(Error::field(fields::printable(name), "is not a known field"));
    }
    let ticket = event.query_string_parameters.first("ticket").ok_or(Error::InvalidTicket)?;
    let origin = event.headers.get("origin").map(|origin| origin.to_str().unwrap_or_default().to_ascii_lowercase());
    let opening =
        Opening { connection: &connection, ticket_hash: auth::ticket_hash(ticket), origin: origin.as_deref() };
    match app.record.connections.open(&opening, app.clock.at()).await? {
        Opened::Registered { user, displaced } => {
            // First, so that the user never seems to be offline in between.
            come_online(app, &user, &connection).await;
            outgoing::close(app, &displaced).await;
            leave(app, displaced.iter().map(|connection| (&user, connection))).await;
            Ok(())
        }
        Opened::TicketRefused => Err(Error::InvalidTicket),
        Opened::OriginRefused => Err(Error::OriginNotAllowed),
    }
}
