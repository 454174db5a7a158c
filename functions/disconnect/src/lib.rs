//! `$disconnect`: removes the connection, after which its user may go offline. AWS delivers this event on a best-effort basis; a row that is left over
//! is removed at the first 410 or by the sweep.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;
use shared::sockets::outgoing;

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL"];

/// Removes the connection of a closed socket. A failure is only logged, because the sweep cleans up.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    if let Some(id) = event.request_context.connection_id.as_deref()
        && let Err(error) = outgoing::forget(app, &[ConnectionId::new(id)]).await
    {
        tracing::warn!(%error, connection = id, "failed to remove a closed connection");
    }
    SocketReply::ok()
}
