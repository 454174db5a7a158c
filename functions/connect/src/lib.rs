//! `$connect`: takes the ticket, registers the connection. Until it has answered 2xx there is no socket.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::auth;
use shared::error::Error;
use shared::http::fields;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;
use shared::sockets::connections::{Opened, Opening};
use shared::sockets::outgoing;

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL", "WS_ENDPOINT"];

/// Answers a handshake.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    match open(app, &event).await {
        Ok(()) => SocketReply::ok(),
        Err(error) => SocketReply::refused(&error, event.request_context.request_id.as_deref().unwrap_or_default()),
    }
}

async fn open(app: &App, event: &ApiGatewayWebsocketProxyRequest) -> Result<(), Error> {
    let connection = event.request_context.connection_id.as_deref().map(ConnectionId::new).ok_or(Error::Internal)?;
    // A token has no place in a URL, where logs keep it; nor has anything else that nobody here reads.
    if let Some((name, _)) = event.query_string_parameters.iter().find(|(name, _)| *name != "ticket") {
        return Err(Error::field(fields::printable(name), "is not a known field"));
    }
    let ticket = event.query_string_parameters.first("ticket").ok_or(Error::InvalidTicket)?;
    let origin = event.headers.get("origin").map(|origin| origin.to_str().unwrap_or_default().to_ascii_lowercase());
    let opening =
        Opening { connection: &connection, ticket_hash: auth::ticket_hash(ticket), origin: origin.as_deref() };
    match app.record.connections.open(&opening, app.clock.at()).await? {
        Opened::Registered { displaced, .. } => {
            outgoing::close(app, &displaced).await;
            Ok(())
        }
        Opened::TicketRefused => Err(Error::InvalidTicket),
        Opened::OriginRefused => Err(Error::OriginNotAllowed),
    }
}
