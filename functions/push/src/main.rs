//! The function `push` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start(push::NEEDS).await;
    run(service_fn(|request| async { Ok::<_, Error>(push::handle(&app, request).await) })).await
}
