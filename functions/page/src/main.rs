//! The function `page` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::config::Config;
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::log();
    let config = Config::from_env(page::NEEDS).unwrap_or_else(|error| function::exit(&error));
    run(service_fn(|request| async { Ok::<_, Error>(page::handle(&config, request).await) })).await
}
