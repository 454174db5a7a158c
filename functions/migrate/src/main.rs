//! The function `migrate` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::function;
use shared::telemetry::invocation::{self, Origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, secrets) = function::begin_with_secrets(migrate::NEEDS).await;
    let record = function::record(&config).unwrap_or_else(|error| function::exit(&secrets.naming(&error)));
    let (record, functions_role) = (&record, config.functions_role.as_ref());
    run(service_fn(|LambdaEvent { payload, .. }: LambdaEvent<Value>| async move {
        let migrating = migrate::handle(record, functions_role, &payload);
        invocation::run(Origin::internal("migrate"), migrating, |_| None).await
    }))
    .await
}
