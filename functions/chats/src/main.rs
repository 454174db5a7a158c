//! The function `chats` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = function::start_waking(chats::NEEDS).await;
    run(service_fn(|request| async { Ok::<_, Error>(chats::handle(&app, request).await) })).await
}
