//! What a function holds between calls: its configuration, its clock, and whoever keeps the promises.

use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::api_gateway::ApiGatewayPush;
use crate::auth::Tokens;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::connections::Connections;
use crate::deliveries::Deliveries;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::push::{Push, Wake};

/// Built once a process, handed to every call. Clones share everything.
#[derive(Clone)]
pub struct App {
    /// What the environment said.
    pub config: Arc<Config>,
    /// The present time.
    pub clock: Clock,
    /// Who verifies tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// The record's inboxes.
    pub inbox: Arc<dyn Inbox>,
    /// The record's unfinished work.
    pub deliveries: Arc<dyn Deliveries>,
    /// The record's sockets and tickets.
    pub connections: Arc<dyn Connections>,
    /// The moment's budgets.
    pub limits: Arc<dyn Limits>,
    /// The way to the sockets.
    pub push: Arc<dyn Push>,
    /// The way to the drain. Without one its schedule, each minute, is soon enough.
    pub wake: Option<Arc<dyn Wake>>,
}

/// Who keeps the promises of the record: one store, all of them.
pub trait Record: Inbox + Deliveries + Connections {}

impl<T: Inbox + Deliveries + Connections> Record for T {}

impl App {
    /// An app on these stores, by the machine's clock and with nobody to wake.
    pub fn new(
        config: Config,
        record: Arc<impl Record + 'static>,
        limits: Arc<dyn Limits>,
        push: Arc<dyn Push>,
    ) -> Self {
        Self {
            tokens: Tokens::new(&config).map(Arc::new),
            config: Arc::new(config),
            clock: Clock::system(),
            inbox: record.clone(),
            deliveries: record.clone(),
            connections: record,
            limits,
            push,
            wake: None,
        }
    }

    /// The app of a deployed function, which needs these variables. Begins to log; where a variable is missing
    /// or wrong it says which, and the process ends with status 78 (`EX_CONFIG`).
    pub async fn start(needed: &[&str]) -> Self {
        log_json();
        match Self::from_env(needed).await {
            Ok(app) => app,
            Err(ConfigError(problems)) => {
                for problem in problems {
                    tracing::error!("{problem}");
                }
                std::process::exit(78);
            }
        }
    }

    async fn from_env(needed: &[&str]) -> Result<Self, ConfigError> {
        let config = Config::from_env(needed)?;
        let url = config.database_url.as_ref().map(|url| url.reveal().to_owned()).unwrap_or_default();
        let kind = url.split(':').next().unwrap_or_default();
        // SQLite is one process's file, and a deployed function is many processes.
        Err(ConfigError(vec![format!("DATABASE_URL names a store of the kind {kind:?}, which functions cannot use")]))
    }
}

/// The push of a function whose `WS_ENDPOINT` is set.
pub fn push_from(config: &Config) -> Option<ApiGatewayPush> {
    let endpoint = config.ws_endpoint.as_deref()?;
    let (id, key, session) = config.credentials.clone()?;
    let session = session.map(|session| session.reveal().to_owned());
    let credentials = aws_credential_types::Credentials::new(id, key.reveal(), session, None, "environment");
    Some(ApiGatewayPush::new(endpoint, config.region.clone(), credentials))
}

/// Logs one JSON object a line to standard output, as Lambda expects it; `RUST_LOG` filters.
fn log_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call in one process finds the first one's subscriber, which is as good.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).without_time().try_init();
}
