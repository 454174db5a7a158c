//! The function `migrate` on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::function;
use shared::telemetry::invocation::{self, Origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, secrets) = function::begin_with_secrets(migrate::NEEDS).await;
    let record = function::record(&config).unwrap_or_else(|error| function::exit(&secrets.naming(&error)));
    let record = &record.renewed_by(secrets.of_database());
    let (config, renewal) = (&config, &secrets.of_functions_role());
    run(service_fn(|LambdaEvent { payload, .. }: LambdaEvent<Value>| async move {
        let migrating = async {
            // The role gets the password that its secret has now: invoking this function is how another one is taken up.
            let renewed = match renewal {
                Some(renewal) => Some(renewal.present().await?),
                None => None,
            };
            let role = renewed.as_deref().unwrap_or(config).functions_role.as_ref();
            migrate::handle(record, role, &payload).await
        };
        invocation::run(Origin::internal("migrate"), migrating, |_| None).await
    }))
    .await
}
