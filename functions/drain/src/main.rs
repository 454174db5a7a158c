//! The function `drain` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut app = function::start(drain::NEEDS);
    app.push_services = function::push_services(&app.config);
    let app = &app;
    run(service_fn(|event: LambdaEvent<Value>| {
        // Only an emulator calls after the deadline (`cargo lambda watch` says 1970): then there is none.
        let deadline_ms = i64::try_from(event.context.deadline).ok();
        let deadline_ms = deadline_ms.filter(|deadline_ms| *deadline_ms > app.clock.now_ms()).unwrap_or(i64::MAX);
        async move { Ok::<_, Error>(drain::handle(app, deadline_ms).await) }
    }))
    .await
}
