//! `$disconnect`: forgets the connection. Best effort on AWS; a row that it missed goes with the first 410, or
//! with the sweep.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL"];

/// Takes note that a socket is closed.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    if let Some(id) = event.request_context.connection_id.as_deref()
        && let Err(error) = app.record.connections.forget(&[ConnectionId::new(id)]).await
    {
        tracing::warn!(%error, connection = id, "a closed connection could not be forgotten");
    }
    SocketReply::ok()
}
