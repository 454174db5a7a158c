//! Carillon's functions in this process, on SQLite and memory or on the servers that the configuration names.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use serde_json::{Value, json};
use shared::app::App;
use shared::clock::Clock;
use shared::config::{Config, ConfigError, Pooler, Secret};
use shared::delivery::wake::Wake;
use shared::fast::log::LogId;
use shared::fast::write::Extent;
use shared::function;
use shared::inbox::epochs::Epochs;
use shared::moment::Moment;
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;
use shared::record::sqlite::{self, SqliteRecord};
use shared::secrets::Secrets;
use shared::sockets::api_gateway::ApiGatewayPush;
use tokio::sync::{Notify, watch};

use crate::functions::Functions;
use crate::in_process::{event_function, http_function, streaming_function};
use crate::server::Gateway;

/// This process serves what many sandboxes would on Lambda, so it may open more connections than one of them.
const DATABASE_CONNECTIONS: u32 = 10;
/// How long logs are written at most before the process ends.
const MAX_PERSISTING: Duration = Duration::from_secs(30);
/// The shortest time between two invocations of the drain; wakes in between count as one.
const MIN_WAKE_INTERVAL: Duration = Duration::from_millis(20);
/// How long the local drain may run: its timeout in the template.
const DRAIN_TIMEOUT_MS: i64 = 90_000;
/// How long the local drain listens for new work once it has none. Starting another one takes several statements and up to
/// [`MIN_WAKE_INTERVAL`].
const DRAIN_IDLE: Duration = Duration::from_millis(100);

/// The functions and the stores that they work on.
pub(crate) struct Handlers {
    app: App,
    record_store: RecordStore,
    wake_signal: Arc<Notify>,
    /// Whether the process is about to stop.
    is_stopping: watch::Sender<bool>,
}

/// The store of the record, kept to close it at the end.
enum RecordStore {
    /// A file in the data folder, or the one that `DATABASE_URL` names.
    Sqlite(Arc<SqliteRecord>),
    /// The server that `DATABASE_URL` names.
    Postgres(PostgresRecord),
}

/// Why the stores cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// A variable is invalid, or the server that it names refuses the connection.
    Config(ConfigError),
    /// The SQLite file cannot be opened.
    Record(sqlite::OpenError),
}

impl Handlers {
    /// Opens the stores, and migrates the record, except behind a pooler.
    pub(crate) async fn open(
        config: &Config,
        secrets: &Secrets,
        data: &Path,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let record_store = RecordStore::open(config, secrets, data).await?;
        let record = match &record_store {
            RecordStore::Sqlite(record) => Record::new(record.clone()),
            RecordStore::Postgres(record) => Record::new(Arc::new(record.clone())),
        };
        let moment = match &config.redis {
            Some(redis) => {
                let moment = RedisMoment::with_renewal(redis, clock.clone(), secrets.of_redis());
                Moment::new(Arc::new(moment.map_err(|error| config_error(secrets, error))?))
            }
            None => Moment::new(Arc::new(MemoryMoment::default())),
        };
        let credentials = aws_credential_types::Credentials::new("local", "local", None, None, "local");
        let endpoint = config.ws_endpoint.as_deref().unwrap_or_default();
        let push = Arc::new(ApiGatewayPush::new(endpoint, config.region.clone(), credentials));
        let wake_signal = Arc::new(Notify::new());
        let app = App::with_clock(config.clone(), record, moment, push, clock.clone());
        let mut app = app.with_secrets(secrets);
        app.wake = Some(Arc::new(WakeByNotify(wake_signal.clone())));
        app.push_services = function::push_services(config);
        Ok(Self { app, record_store, wake_signal, is_stopping: watch::Sender::new(false) })
    }

    /// All functions, by their names in the template.
    pub(crate) fn functions(&self) -> Functions {
        functions(&self.app, self.is_stopping.subscribe())
    }

    /// Invokes the drain whenever work was enqueued for it, for as long as the future is polled.
    pub(crate) fn wake_on_demand(&self, gateway: Arc<Gateway>) -> impl Future<Output = ()> + Send + 'static {
        let wake_signal = self.wake_signal.clone();
        async move {
            loop {
                wake_signal.notified().await;
                if let Err(error) = gateway.invoke_async("drain", json!({}).to_string().into()) {
                    tracing::warn!(%error, "the drain could not be woken: {error}");
                }
                tokio::time::sleep(MIN_WAKE_INTERVAL).await;
            }
        }
    }

    /// Tells the drain to finish what it has started and to wait for nothing more, and event streams to end.
    pub(crate) fn stop_lasting(&self) {
        self.is_stopping.send_replace(true);
    }

    /// Writes what waits in logs, since those in memory end with this process, and closes the stores. No function may be
    /// running.
    pub(crate) async fn close(&self) {
        let logs: Vec<LogId> = LogId::all().collect();
        let unwritten = self.app.moment.logs.unwritten(&logs).await.logs;
        // Nothing is appended any more, and the lease of a drain that was ended holds up nothing.
        let written = self.app.log_writer.write(&unwritten, Extent::Present, MAX_PERSISTING, self.app.clock.at()).await;
        if !written.unfinished.is_empty() {
            tracing::error!("some of what was accepted fast could not be written");
        }
        self.record_store.close().await;
    }
}

/// Migrates the record for functions in other processes; behind a pooler, checks that it is migrated.
pub(crate) async fn migrate(config: &Config, secrets: &Secrets, data: &Path) -> Result<(), OpenError> {
    RecordStore::open(config, secrets, data).await?.close().await;
    Ok(())
}

/// Begins another epoch of the record. On Postgres, the schema stays as it is.
pub(crate) async fn renew_epoch(config: &Config, secrets: &Secrets, data: &Path) -> Result<(), OpenError> {
    let record_store = RecordStore::named(config, secrets, data).await?;
    let renewed = match &record_store {
        RecordStore::Sqlite(record) => record.renew_epoch().await,
        RecordStore::Postgres(record) => record.renew_epoch().await,
    };
    record_store.close().await;
    renewed.map(drop).map_err(|error| config_error(secrets, error))
}

impl RecordStore {
    /// Opens the record and migrates it, except behind a pooler.
    async fn open(config: &Config, secrets: &Secrets, data: &Path) -> Result<Self, OpenError> {
        let record_store = Self::named(config, secrets, data).await?;
        if let Self::Postgres(record) = &record_store {
            let opened = match config.database_pooler {
                Pooler::None => record.migrate().await.map(drop),
                // Migrations go past the pooler.
                Pooler::Transaction => record.check().await,
            };
            opened.map_err(|error| config_error(secrets, error))?;
        }
        Ok(record_store)
    }

    /// The record that the configuration names. A SQLite file is opened and migrated; Postgres is connected to by the first
    /// call.
    async fn named(config: &Config, secrets: &Secrets, data: &Path) -> Result<Self, OpenError> {
        let url = config.database_url.as_ref();
        let text = url.map(Secret::reveal);
        if let (Some(url), Some(text)) = (url, text)
            && (text.starts_with("postgres://") || text.starts_with("postgresql://"))
        {
            let record =
                PostgresRecord::new(url, DATABASE_CONNECTIONS).map_err(|error| config_error(secrets, error))?;
            return Ok(Self::Postgres(record.behind(config.database_pooler).renewed_by(secrets.of_database())));
        }
        let file = match text.map(|text| text.strip_prefix("sqlite://")) {
            None => data.join("carillon.db"),
            Some(Some(file)) if !file.is_empty() => file.into(),
            Some(_) => {
                let problem = "DATABASE_URL must be postgres://… or sqlite:// and a path";
                return Err(config_error(secrets, problem));
            }
        };
        Ok(Self::Sqlite(Arc::new(SqliteRecord::open(&file).await.map_err(OpenError::Record)?)))
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(record) => record.close().await,
            Self::Postgres(record) => record.close().await,
        }
    }
}

fn config_error(secrets: &Secrets, problem: impl Display) -> OpenError {
    OpenError::Config(secrets.naming(&ConfigError(vec![problem.to_string()])))
}

fn functions(app: &App, stopping: watch::Receiver<bool>) -> Functions {
    macro_rules! http {
        ($function:ident) => {{
            let app = app.clone();
            http_function(move |request| {
                let app = app.clone();
                async move { Ok($function::handle(&app, request).await) }
            })
        }};
    }
    macro_rules! socket {
        ($function:ident) => {{
            let app = app.clone();
            event_function(move |event: ApiGatewayWebsocketProxyRequest| {
                let app = app.clone();
                async move { Ok($function::handle(&app, event).await) }
            })
        }};
    }
    let mut functions = Functions::default();
    functions.insert("send", http!(send));
    functions.insert("inbox", http!(inbox));
    functions.insert("tickets", http!(tickets));
    functions.insert("health", http!(health));
    functions.insert("metrics", http!(metrics));
    functions.insert("testing", http!(testing));
    let config = app.config.clone();
    let page = http_function(move |request| {
        let config = config.clone();
        async move { Ok(page::handle(&config, request).await) }
    });
    functions.insert("page", page);
    functions.insert("history", http!(history));
    functions.insert("deadletters", http!(deadletters));
    functions.insert("chats", http!(chats));
    functions.insert("presence", http!(presence));
    functions.insert("push", http!(push));
    functions.insert("emit", http!(emit));
    let streaming = (app.clone(), stopping.clone());
    let stream = streaming_function(move |request| {
        let (app, mut stopping) = streaming.clone();
        async move {
            let stopped = async move { drop(stopping.wait_for(|is_stopping| *is_stopping).await) };
            Ok(stream::handle_until(&app, request, stopped).await)
        }
    });
    functions.insert("stream", stream);
    functions.insert("users", http!(users));
    functions.insert("notfound", http_function(|request| async { Ok(notfound::handle(request).await) }));
    functions.insert("connect", socket!(connect));
    functions.insert("disconnect", socket!(disconnect));
    functions.insert("message", socket!(message));
    let draining = (app.clone(), stopping);
    let drain = event_function(move |_: Value| {
        let (app, mut stopping) = draining.clone();
        async move {
            let stopped = async { drop(stopping.wait_for(|is_stopping| *is_stopping).await) };
            let deadline_ms = app.clock.now_ms() + DRAIN_TIMEOUT_MS;
            Ok(drain::handle_until(&app, deadline_ms, DRAIN_IDLE, stopped).await)
        }
    });
    functions.insert("drain", drain);
    functions
}

struct WakeByNotify(Arc<Notify>);

#[async_trait::async_trait]
impl Wake for WakeByNotify {
    async fn wake_drain(&self, _: bool) {
        self.0.notify_one();
    }
}
