//! The function `page` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = function::begin(page::NEEDS);
    run(service_fn(|request| async { Ok::<_, Error>(page::handle(&config, request).await) })).await
}
