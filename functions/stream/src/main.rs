//! The function `stream` on Lambda.

use lambda_http::{Error, run_with_streaming_response, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start_waking(stream::NEEDS).await;
    run_with_streaming_response(service_fn(|request| async { Ok::<_, Error>(stream::handle(&app, request).await) }))
        .await
}
