//! Carillon on a laptop: every function of the template in this process, on stores that need no installing.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use serde_json::{Value, json};
use shared::api_gateway::ApiGatewayPush;
use shared::app::App;
use shared::auth;
use shared::clock::{Clock, Time};
use shared::config::{Config, ConfigError, Origins, Secret};
use shared::memory::MemoryLimits;
use shared::push::Wake;
use shared::sqlite::{OpenError, SqliteRecord};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{
    Functions, Gateway, ListenError, Options, ServeError, Template, TemplateError, Token, TokenRequest, event_function,
    http_function, listen, serve,
};

/// How often a woken drain is invoked at most; wakes in between are one.
const WAKE_PAUSE: Duration = Duration::from_millis(100);
/// How long the local drain may run: the time-out that the template gives it.
const DRAIN_TIMEOUT_MS: i64 = 90_000;

/// Where and on what to serve.
pub struct Settings {
    /// The address to bind.
    pub host: String,
    /// The port; 0 picks a free one.
    pub port: u16,
    /// The folder in which the record and the signing secret lie.
    pub data: PathBuf,
    /// The template to serve.
    pub template: PathBuf,
    /// The environment.
    pub variables: HashMap<String, String>,
    /// The clock of everything: functions, sockets and schedules.
    pub clock: Clock,
}

/// A running system.
pub struct Local {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// What the functions work with.
    pub app: App,
    /// What was met in the template and is not served.
    pub warnings: Vec<String>,
    record: Arc<SqliteRecord>,
    waker: JoinHandle<()>,
}

/// Why it cannot be served. Names the variable, the folder, the port or the resource.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Variables that are wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The template cannot be read.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The port cannot be had.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The record cannot be opened.
    #[error("{0}")]
    Record(#[from] OpenError),
    /// The signing secret can be neither read nor made.
    #[error("the signing secret {} cannot be used (the first start makes it, or set JWT_SECRET): {reason}", file.display())]
    Secret {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The template asks for what is not there.
    #[error("{0}")]
    Serve(#[from] ServeError),
}

impl Local {
    /// Opens the stores and serves. When this returns, calls are answered.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let mut config = Config::read(|name| settings.variables.get(name).cloned(), &[], Origins::Loopback)?;
        // Which origins there are is for the functions' configuration to say; that there are some turns on CORS.
        let template = Template::read_with(&settings.template, &[("AllowedOrigins", "http://localhost")])?;
        let listener = listen(&settings.host, settings.port).await?;
        let record = Arc::new(SqliteRecord::open(&database_file(&config, &settings.data)?).await?);
        point_at(&mut config, listener.address(), &template);
        config.jwt_secret = Some(signing_secret(&config, &settings.data)?);

        let credentials = aws_credential_types::Credentials::new("local", "local", None, None, "local");
        let endpoint = config.ws_endpoint.as_deref().unwrap_or_default();
        let push = Arc::new(ApiGatewayPush::new(endpoint, config.region.clone(), credentials));
        let woken = Arc::new(Notify::new());
        let mut app = App::new(config, record.clone(), Arc::new(MemoryLimits::default()), push);
        app.clock = settings.clock.clone();
        app.wake = Some(Arc::new(WakeByNotify(woken.clone())));

        let warnings = template.warnings.clone();
        let mut options = Options::new(template, functions(&app), settings.clock);
        let origins = app.config.allowed_origins.clone();
        options.cors_origins = Some(Arc::new(move |origin| origins.allow(origin)));
        let signer = app.clone();
        options.sign_token = Some(Arc::new(move |request| sign(&signer, request)));
        let gateway = Arc::new(serve(listener, options)?);
        let waker = tokio::spawn(wake(gateway.clone(), woken));
        Ok(Self { gateway, app, warnings, record, waker })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Signs a token that is good for `ttl_s` seconds.
    pub fn token(&self, sub: &str, scope: &str, ttl_s: u64) -> Result<Token, String> {
        sign(&self.app, TokenRequest { sub: sub.to_owned(), scope: scope.to_owned(), ttl_s })
    }

    /// Stops cleanly: sockets are closed, what runs may end, the record is closed last.
    pub async fn stop(self) {
        self.waker.abort();
        self.gateway.stop().await;
        self.record.close().await;
    }
}

/// The signing secret of a data folder: `JWT_SECRET` where it is set, else one that is made at first use.
pub fn signing_secret(config: &Config, data: &Path) -> Result<Secret, StartError> {
    let file = data.join("jwt-secret");
    if config.jwt_secret.is_none() && !file.exists() {
        make_secret(&file).map_err(|reason| StartError::Secret { file, reason })?;
    }
    existing_secret(config, data)
}

/// The signing secret of a data folder that a gateway has used already.
pub fn existing_secret(config: &Config, data: &Path) -> Result<Secret, StartError> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    let file = data.join("jwt-secret");
    let read = fs::read_to_string(&file).map(|secret| secret.trim().to_owned());
    let too_short = |secret: &String| secret.len() < 32;
    match read {
        Ok(secret) if too_short(&secret) => {
            let reason = io::Error::new(io::ErrorKind::InvalidData, "it must be at least 32 bytes");
            Err(StartError::Secret { file, reason })
        }
        Ok(secret) => Ok(Secret::new(secret)),
        Err(reason) => Err(StartError::Secret { file, reason }),
    }
}

fn make_secret(file: &Path) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let secret = auth::new_secret().map_err(io::Error::other)?;
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(secret.reveal().as_bytes())
}

/// The file that `DATABASE_URL` names, or the one in the data folder.
fn database_file(config: &Config, data: &Path) -> Result<PathBuf, StartError> {
    let Some(url) = &config.database_url else { return Ok(data.join("carillon.db")) };
    match url.reveal().strip_prefix("sqlite://") {
        Some(file) if !file.is_empty() => Ok(file.into()),
        _ => {
            Err(ConfigError(vec!["DATABASE_URL must be sqlite:// and a path; no other store is supported yet".into()])
                .into())
        }
    }
}

/// Points the functions at this very process, where the environment does not say otherwise.
fn point_at(config: &mut Config, address: SocketAddr, template: &Template) {
    // Listening on all addresses, the functions still reach themselves on loopback.
    let host =
        if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() };
    let stage = template.websocket_api.as_ref().map(|api| api.stage.clone()).unwrap_or_default();
    config.ws_endpoint.get_or_insert(format!("http://{host}/{stage}"));
    config.ws_url.get_or_insert(format!("ws://{host}/{stage}"));
}

fn sign(app: &App, request: TokenRequest) -> Result<Token, String> {
    let ttl_s = i64::try_from(request.ttl_s).ok().filter(|ttl_s| (1..=31_536_000).contains(ttl_s));
    let ttl_s = ttl_s.ok_or("ttl must be 1 to 31536000 seconds")?;
    let exp_s = app.clock.now_ms() / 1_000 + ttl_s;
    let token = auth::sign(&app.config, &request.sub, &request.scope, exp_s)?;
    Ok(Token { token, expires_at: Time(exp_s * 1_000).to_string() })
}

/// Every function of the template, by the name that it has there.
fn functions(app: &App) -> Functions {
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
    functions.insert("notfound", http_function(|request| async { Ok(notfound::handle(request).await) }));
    functions.insert("connect", socket!(connect));
    functions.insert("disconnect", socket!(disconnect));
    functions.insert("message", socket!(message));
    let draining = app.clone();
    let drain = event_function(move |_: Value| {
        let app = draining.clone();
        async move { Ok(drain::handle(&app, app.clock.now_ms() + DRAIN_TIMEOUT_MS).await) }
    });
    functions.insert("drain", drain);
    functions
}

struct WakeByNotify(Arc<Notify>);

impl Wake for WakeByNotify {
    fn wake_drain(&self) {
        self.0.notify_one();
    }
}

/// Invokes the drain whenever somebody left work for it.
async fn wake(gateway: Arc<Gateway>, woken: Arc<Notify>) {
    loop {
        woken.notified().await;
        if let Err(error) = gateway.invoke_async("drain", json!({}).to_string().into()) {
            tracing::warn!(%error, "the drain could not be woken");
        }
        tokio::time::sleep(WAKE_PAUSE).await;
    }
}
