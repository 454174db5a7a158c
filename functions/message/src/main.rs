//! The function `message` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start_waking(message::NEEDS).await;
    run(service_fn(|event: LambdaEvent<_>| async { Ok::<_, Error>(message::handle(&app, event.payload).await) })).await
}
