//! The function `inbox` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::app::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(inbox::NEEDS).await;
    run(service_fn(|request| async { Ok::<_, Error>(inbox::handle(&app, request).await) })).await
}
