//! The function `drain` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::app::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(drain::NEEDS).await;
    let app = &app;
    run(service_fn(|event: LambdaEvent<Value>| {
        let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        async move { Ok::<_, Error>(drain::handle(app, deadline_ms).await) }
    }))
    .await
}
