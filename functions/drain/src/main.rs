//! The function `drain` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut app = function::start(drain::NEEDS).await;
    app.push_services = function::push_services(&app.config);
    let app = &app;
    run(service_fn(|LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        // This function has all stores and may push, so an operator asks it what is wrong with them.
        if payload["doctor"] == true {
            return Ok::<Value, Error>(serde_json::to_value(function::doctor::of_this_function().await)?);
        }
        // Only an emulator calls after the deadline (`cargo lambda watch` says 1970): then there is none.
        let deadline_ms = i64::try_from(context.deadline).ok();
        let deadline_ms = deadline_ms.filter(|deadline_ms| *deadline_ms > app.clock.now_ms()).unwrap_or(i64::MAX);
        Ok(serde_json::to_value(drain::handle(app, deadline_ms).await)?)
    }))
    .await
}
