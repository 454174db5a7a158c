//! Wakes the drain by invoking its Lambda function, with the AWS SDK.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{BehaviorVersion, Config, Region, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::types::InvocationType;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::delivery::wake::Wake;

/// The shortest time between two invocations by one sandbox that does not know whether a drain is awake.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The timeout of an invocation, for which the sender of a notification waits.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The drain as a Lambda function.
pub struct LambdaWake {
    function: String,
    /// Created with the first invocation, which most sandboxes never make.
    client: LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>,
    /// When this sandbox last invoked the drain.
    invoked_at: Mutex<Option<Instant>>,
}

impl LambdaWake {
    /// `function` is the drain's name or ARN; `endpoint` is the URL at which functions are invoked, if not AWS'.
    pub fn new(function: String, endpoint: Option<String>, region: String, credentials: Credentials) -> Arc<Self> {
        let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // The second attempt is for an HTTP connection that died while the sandbox was frozen.
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(50)));
        config.set_endpoint_url(endpoint);
        let config = config.build();
        let client: Box<dyn FnOnce() -> Client + Send> = Box::new(|| Client::from_conf(config));
        Arc::new(Self { function, client: LazyLock::new(client), invoked_at: Mutex::new(None) })
    }
}

#[async_trait]
impl Wake for LambdaWake {
    async fn wake_drain(&self, is_asleep: bool) {
        let now = Instant::now();
        {
            let mut invoked_at = self.invoked_at.lock().await;
            if !is_asleep && invoked_at.is_some_and(|at| now - at < MIN_INTERVAL) {
                return;
            }
            *invoked_at = Some(now);
        }
        // Lambda responds as soon as it has queued the event.
        let invoked = self.client.invoke().function_name(&self.function).invocation_type(InvocationType::Event).send();
        if let Err(error) = invoked.await {
            let error = DisplayErrorContext(error);
            tracing::warn!(%error, "the drain could not be woken; its schedule starts it within a minute");
        }
    }
}
