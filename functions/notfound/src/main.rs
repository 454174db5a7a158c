//! The function `notfound` on Lambda.

use lambda_http::{Error, run, service_fn};
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::begin(&[]);
    run(service_fn(|request| async { Ok::<_, Error>(notfound::handle(request).await) })).await
}
