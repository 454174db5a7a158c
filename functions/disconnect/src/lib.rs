//! `$disconnect`: removes the connection, after which its user may go offline. AWS delivers this event on a best-effort basis; a row that is left over
//! is removed at the first 410 or by the sweep.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use shared::app::App;
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;
use shared::sockets::outgoing;
use shared::telemetry::invocation::{self, Fact, Origin, note};

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL"];

/// Removes the connection of a closed socket. A failure is only logged, because the sweep cleans up.
pub async fn handle(app: &App, event: ApiGatewayWebsocketProxyRequest) -> SocketReply {
    let request_id = event.request_context.request_id.as_deref();
    let origin = Origin::socket("disconnect", request_id);
    let forgetting = forget(app, event.request_context.connection_id.as_deref());
    invocation::run(origin, forgetting, |reply| Some(reply.status())).await
}

async fn forget(app: &App, id: Option<&str>) -> SocketReply {
    note(Fact::Route("$disconnect"));
    if let Some(id) = id.map(ConnectionId::new) {
        note(Fact::Connection(id.clone()));
        if let Err(error) = outgoing::forget(app, std::slice::from_ref(&id)).await {
            tracing::warn!(%error, connection = %id, "failed to remove a closed connection");
        }
    }
    SocketReply::ok()
}
