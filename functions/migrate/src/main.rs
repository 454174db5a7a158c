//! The function `migrate` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::function;
use shared::telemetry::invocation::{self, Origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = function::begin(migrate::NEEDS);
    let record = function::record(&config).unwrap_or_else(|error| function::exit(&error));
    run(service_fn(|_: LambdaEvent<Value>| async {
        let migrating = migrate::handle(&record);
        invocation::run(Origin::internal("migrate"), migrating, |_| None).await.map_err(Error::from)
    }))
    .await
}
