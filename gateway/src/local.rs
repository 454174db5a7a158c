//! Carillon on a laptop: one gateway before its functions, which run in this process or wherever `lambda` says.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::auth;
use shared::clock::{Clock, Time};
use shared::config::{Config, ConfigError, Origins, Secret};
use shared::record::sqlite::OpenError;
use tokio::task::JoinHandle;

use crate::forward::{self, LambdaUrl};
use crate::handlers::{self, Handlers};
use crate::options::{Options, ServeError, Token, TokenRequest};
use crate::server::{Gateway, ListenError, listen, serve};
use crate::template::{Template, TemplateError};

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
    /// Where the functions run and keep stores of their own; in this process where it is `None`.
    pub lambda: Option<LambdaUrl>,
}

/// A running system.
pub struct Local {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// What the environment said, completed by where this gateway is and how tokens are signed.
    pub config: Arc<Config>,
    /// Where the functions run, if not in this process.
    pub lambda: Option<LambdaUrl>,
    /// What was met in the template and is not served.
    pub warnings: Vec<String>,
    clock: Clock,
    in_process: Option<LocalFunctions>,
}

/// The functions of this process, and the task that wakes their drain.
struct LocalFunctions {
    handlers: Handlers,
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

impl From<handlers::OpenError> for StartError {
    fn from(error: handlers::OpenError) -> Self {
        match error {
            handlers::OpenError::Config(error) => Self::Config(error),
            handlers::OpenError::Record(error) => Self::Record(error),
        }
    }
}

impl Local {
    /// Opens the stores, where the functions are in this process, and serves. When this returns, calls are answered.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { host, port, data, template, variables, clock, lambda } = settings;
        let mut config = Config::read(|name| variables.get(name).cloned(), &[], Origins::Loopback)?;
        // Which origins there are is for the functions' configuration to say; that there are some turns on CORS.
        let template = Template::read_with(&template, &[("AllowedOrigins", "http://localhost")])?;
        let warnings = template.warnings.clone();
        let listener = listen(&host, port).await?;
        point_at(&mut config, listener.address(), &template);
        config.jwt_secret = Some(signing_secret(&config, &data)?);
        let config = Arc::new(config);

        let (functions, handlers) = match &lambda {
            Some(url) => (forward::functions(&template, url), None),
            None => {
                let handlers = Handlers::open(&config, &data, &clock).await?;
                (handlers.functions(), Some(handlers))
            }
        };
        let mut options = Options::new(template, functions, clock.clone());
        let origins = config.allowed_origins.clone();
        options.cors_origins = Some(Arc::new(move |origin| origins.allow(origin)));
        let (signer, signing_clock) = (config.clone(), clock.clone());
        options.sign_token = Some(Arc::new(move |request| sign(&signer, &signing_clock, request)));
        let gateway = Arc::new(serve(listener, options)?);
        let in_process = handlers.map(|handlers| {
            let waker = tokio::spawn(handlers.wake_on_demand(gateway.clone()));
            LocalFunctions { handlers, waker }
        });
        Ok(Self { gateway, config, lambda, warnings, clock, in_process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Signs a token that is good for `ttl_s` seconds.
    pub fn token(&self, sub: &str, scope: &str, ttl_s: u64) -> Result<Token, String> {
        sign(&self.config, &self.clock, TokenRequest { sub: sub.to_owned(), scope: scope.to_owned(), ttl_s })
    }

    /// Stops cleanly: sockets are closed, what runs may end, the stores are closed last.
    pub async fn stop(self) {
        if let Some(in_process) = &self.in_process {
            in_process.waker.abort();
            in_process.handlers.stop_drain();
        }
        self.gateway.stop().await;
        if let Some(in_process) = &self.in_process {
            in_process.handlers.close().await;
        }
    }
}

/// The signing secret of a data folder: `JWT_SECRET` where it is set, else one that is made at first use.
pub fn signing_secret(config: &Config, data: &Path) -> Result<Secret, StartError> {
    let file = data.join("jwt-secret");
    if config.jwt_secret.is_none() && !file.exists() {
        create_secret(&file).map_err(|reason| StartError::Secret { file, reason })?;
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

fn create_secret(file: &Path) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let secret = auth::new_secret().map_err(io::Error::other)?;
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(secret.reveal().as_bytes())
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

fn sign(config: &Config, clock: &Clock, request: TokenRequest) -> Result<Token, String> {
    let ttl_s = i64::try_from(request.ttl_s).ok().filter(|ttl_s| (1..=31_536_000).contains(ttl_s));
    let ttl_s = ttl_s.ok_or("ttl must be 1 to 31536000 seconds")?;
    let exp_s = clock.now_ms() / 1_000 + ttl_s;
    let token = auth::sign(config, &request.sub, &request.scope, exp_s)?;
    Ok(Token { token, expires_at: Time(exp_s * 1_000).to_string() })
}
