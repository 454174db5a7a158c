//! The function `tickets` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start(tickets::NEEDS).await;
    run(service_fn(|request| async { Ok::<_, Error>(tickets::handle(&app, request).await) })).await
}
