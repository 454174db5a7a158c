//! The function `presence` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start(presence::NEEDS).await;
    run(service_fn(|request| async { Ok::<_, Error>(presence::handle(&app, request).await) })).await
}
