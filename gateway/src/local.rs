//! Carillon on one machine: a gateway in front of its functions, which run in this process, in processes of their own, or
//! at a URL.

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
use shared::secrets::{self, Secrets};
use tokio::task::JoinHandle;

use crate::forward::{self, LambdaUrl};
use crate::functions::Functions;
use crate::handlers::{self, Handlers};
use crate::options::{Options, ServeError, Token, TokenRequest};
use crate::private_file;
use crate::sandboxes::{self, SandboxError, Sandboxes};
use crate::server::{Gateway, ListenError, listen, serve};
use crate::spawned;
use crate::template::{Template, TemplateError};
use crate::vapid;

const DEFAULT_PORT: u16 = 3000;
/// The file of the generated keys for Web Push, in the data folder.
pub(crate) const VAPID_FILE: &str = "vapid-keys";

/// What to serve, and where.
pub struct Settings {
    /// The host name or address to listen on.
    pub host: String,
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The folder for the SQLite file, the generated signing secret and the generated keys for Web Push.
    pub data: PathBuf,
    /// The path of the template to serve.
    pub template: PathBuf,
    /// The environment variables.
    pub variables: HashMap<String, String>,
    /// The clock of the functions, sockets and schedules.
    pub clock: Clock,
    /// Where the functions run; `None` runs them in this process.
    pub lambda: Option<Lambda>,
    /// Whether the invocation of a function that streams ends with its client; on AWS it runs on.
    pub cancel_on_disconnect: bool,
}

/// Functions outside of this process. They need servers as stores.
#[derive(Debug, Clone)]
pub enum Lambda {
    /// They are invoked at this URL, with variables and stores of their own.
    At(LambdaUrl),
    /// They are processes that the gateway starts and that end with it.
    Spawn(sandboxes::Settings),
}

/// A running system.
pub struct Local {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The configuration from the environment, completed with the addresses of this gateway, the keys for Web Push and,
    /// without published keys, the signing secret.
    pub config: Arc<Config>,
    /// Where the functions run; `None` if in this process.
    pub lambda: Option<Lambda>,
    /// Warnings about parts of the template that are not served.
    pub warnings: Vec<String>,
    clock: Clock,
    running: Running,
    /// Wakes the drain, or begins whatever else functions invoke.
    waker: Option<JoinHandle<()>>,
}

/// The functions.
enum Running {
    InProcess(Box<Handlers>),
    Spawned(Sandboxes),
    Elsewhere,
}

/// Why the start failed. The message names the variable, the folder, the port or the resource.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Environment variables are missing or invalid, or a server that they name refuses the connection.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The template cannot be read or served.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The port cannot be bound.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The SQLite file cannot be opened.
    #[error("{0}")]
    Record(#[from] OpenError),
    /// The signing secret can be neither read nor generated.
    #[error("cannot use the signing secret {} (set JWT_SECRET, or start carillon to generate it): {reason}", file.display())]
    Secret {
        /// The file of the secret.
        file: PathBuf,
        /// The error of the file system, or what is wrong with the content.
        reason: io::Error,
    },
    /// The keys for Web Push can be neither read nor generated.
    #[error("cannot use the keys for Web Push {} (set VAPID_PUBLIC_KEY, VAPID_PRIVATE_KEY and VAPID_SUBJECT): {reason}", file.display())]
    Vapid {
        /// The file of the keys.
        file: PathBuf,
        /// The error of the file system, or what is wrong with the content.
        reason: io::Error,
    },
    /// The template needs a function that does not exist, or cannot be served for another reason.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The functions cannot be run as processes.
    #[error("{0}")]
    Sandboxes(#[from] SandboxError),
}

impl From<handlers::OpenError> for StartError {
    fn from(error: handlers::OpenError) -> Self {
        match error {
            handlers::OpenError::Config(error) => Self::Config(error),
            handlers::OpenError::Record(error) => Self::Record(error),
        }
    }
}

/// Where to listen if nothing else is asked for: `PORT`, else `WS_PORT`, else 3000. An empty variable counts as missing.
pub fn port(variables: &HashMap<String, String>) -> Result<u16, StartError> {
    let given = |name: &'static str| Some((name, variables.get(name).filter(|value| !value.is_empty())?));
    let Some((name, value)) = given("PORT").or_else(|| given("WS_PORT")) else { return Ok(DEFAULT_PORT) };
    let problem = |_| StartError::Config(ConfigError(vec![format!("{name} must be a port, 0 to 65535")]));
    value.parse().map_err(problem)
}

/// Begins another epoch of the record that the configuration names, or of the file in the data folder.
pub async fn renew_epoch(config: &Config, secrets: &Secrets, data: &Path) -> Result<(), StartError> {
    Ok(handlers::renew_epoch(config, secrets, data).await?)
}

/// The configuration that these variables make, with the secrets that they name.
pub async fn configured(
    variables: &HashMap<String, String>,
    needed: &[&str],
    clock: &Clock,
) -> Result<(Config, Secrets), StartError> {
    Ok(secrets::resolve(variables, clock).await.configured(needed, Origins::Loopback)?)
}

impl Local {
    /// Opens the stores if the functions run in this process, and serves. Requests are answered when this returns.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { host, port, data, template, mut variables, clock, lambda, cancel_on_disconnect } = settings;
        let (mut config, secrets) = configured(&variables, &[], &clock).await?;
        let spawns = matches!(lambda, Some(Lambda::Spawn(_)));
        if spawns {
            spawned::check(&config, &variables)?;
        }
        let parameter = |name: &str| {
            let given = if spawns { spawned::parameter(&variables, name) } else { None };
            // Any value turns CORS on. Which origins are allowed is decided below, by the functions' configuration, and so is
            // whether the test page and the test sends answer.
            given.or_else(|| match name {
                "AllowedOrigins" => Some("http://localhost".into()),
                "EnableTestEndpoints" => Some("true".into()),
                _ => None,
            })
        };
        let template = Template::read_with(&template, parameter)?;
        let warnings = template.warnings.clone();
        let listener = listen(&host, port).await?;
        point_at(&mut config, listener.address(), &template);
        // With published keys, only the identity provider signs.
        if config.jwks_url.is_none() {
            config.jwt_secret = Some(signing_secret(&config, &data)?);
        }
        if config.vapid.is_none() {
            let file = data.join(VAPID_FILE);
            let (keys, of_the_file) = vapid::local_keys(&file).map_err(|reason| StartError::Vapid { file, reason })?;
            config.vapid = Some(keys);
            variables.extend(of_the_file);
        }
        let config = Arc::new(config);

        let (running, functions) = match &lambda {
            None => {
                let handlers = Handlers::open(&config, &secrets, &data, &clock).await?;
                let functions = handlers.functions();
                (Running::InProcess(Box::new(handlers)), functions)
            }
            Some(Lambda::Spawn(settings)) => {
                handlers::migrate(&config, &secrets, &data).await?;
                let address = listener.address();
                let sandboxes = spawned::prepare(&template, settings, &config, &variables, address).await?;
                let functions = sandboxes.functions();
                (Running::Spawned(sandboxes), functions)
            }
            Some(Lambda::At(url)) => (Running::Elsewhere, forward::functions(&template, url)),
        };
        let options = options(template, functions, &config, &clock, cancel_on_disconnect);
        let gateway = Arc::new(serve(listener, options)?);
        let waker = match &running {
            Running::InProcess(handlers) => Some(tokio::spawn(handlers.wake_on_demand(gateway.clone()))),
            Running::Spawned(sandboxes) => Some(tokio::spawn(sandboxes.invoke_on_demand(gateway.clone()))),
            Running::Elsewhere => None,
        };
        Ok(Self { gateway, config, lambda, warnings, clock, running, waker })
    }

    /// The address that the gateway listens on.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Signs a token that is valid for `ttl_s` seconds, 1 to 31,536,000. The error says what is wrong with the request.
    pub fn token(&self, sub: &str, scope: &str, ttl_s: u64) -> Result<Token, String> {
        sign(&self.config, &self.clock, TokenRequest { sub: sub.to_owned(), scope: scope.to_owned(), ttl_s })
    }

    /// Stops gracefully: closes the sockets, lets running functions finish, and closes the stores last.
    pub async fn stop(self) {
        if let Some(waker) = &self.waker {
            waker.abort();
        }
        if let Running::InProcess(handlers) = &self.running {
            handlers.stop_lasting();
        }
        self.gateway.stop().await;
        match &self.running {
            Running::InProcess(handlers) => handlers.close().await,
            Running::Spawned(sandboxes) => sandboxes.close(),
            Running::Elsewhere => {}
        }
    }
}

/// What the gateway serves, and how.
fn options(
    template: Template,
    functions: Functions,
    config: &Arc<Config>,
    clock: &Clock,
    cancel_on_disconnect: bool,
) -> Options {
    let mut options = Options::new(template, functions, clock.clone());
    let origins = config.allowed_origins.clone();
    options.cors_origins = Some(Arc::new(move |origin| origins.allow(origin)));
    options.cancel_on_disconnect = cancel_on_disconnect;
    if config.jwt_secret.is_some() {
        let (signer, signing_clock) = (config.clone(), clock.clone());
        options.sign_token = Some(Arc::new(move |request| sign(&signer, &signing_clock, request)));
    }
    options
}

/// The signing secret: `JWT_SECRET` if it is set, else the data folder's, which is generated if there is none.
pub fn signing_secret(config: &Config, data: &Path) -> Result<Secret, StartError> {
    let file = data.join("jwt-secret");
    if config.jwt_secret.is_none() && !file.exists() {
        let secret = auth::new_secret().map_err(io::Error::other);
        let created = secret.and_then(|secret| private_file::create(&file, secret.reveal()));
        created.map_err(|reason| StartError::Secret { file, reason })?;
    }
    existing_secret(config, data)
}

/// The signing secret: `JWT_SECRET` if it is set, else the data folder's. An error if there is none.
pub fn existing_secret(config: &Config, data: &Path) -> Result<Secret, StartError> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(secret.clone());
    }
    let file = data.join("jwt-secret");
    let read = fs::read_to_string(&file).map(|secret| secret.trim().to_owned());
    let too_short = |secret: &String| secret.len() < 32;
    match read {
        Ok(secret) if too_short(&secret) => {
            let reason = io::Error::new(io::ErrorKind::InvalidData, "it must be at least 32 bytes long");
            Err(StartError::Secret { file, reason })
        }
        Ok(secret) => Ok(Secret::new(secret)),
        Err(reason) => Err(StartError::Secret { file, reason }),
    }
}

/// Points the functions' pushes and the clients' sockets and event streams at this gateway, unless the environment names another one.
fn point_at(config: &mut Config, address: SocketAddr, template: &Template) {
    // An unspecified address (0.0.0.0) cannot be connected to; on loopback the functions reach their own gateway.
    let host =
        if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() };
    let stage = template.websocket_api.as_ref().map(|api| api.stage.clone()).unwrap_or_default();
    config.ws_endpoint.get_or_insert(format!("http://{host}/{stage}"));
    config.ws_url.get_or_insert(format!("ws://{host}/{stage}"));
    config.events_url.get_or_insert(format!("http://{host}/api/events"));
}

fn sign(config: &Config, clock: &Clock, request: TokenRequest) -> Result<Token, String> {
    let ttl_s = i64::try_from(request.ttl_s).ok().filter(|ttl_s| (1..=31_536_000).contains(ttl_s));
    let ttl_s = ttl_s.ok_or("ttl must be 1 to 31536000 seconds")?;
    let now_s = clock.now_ms() / 1_000;
    let exp_s = now_s + ttl_s;
    let token = auth::sign(config, &request.sub, &request.scope, now_s, exp_s)?;
    Ok(Token { token, expires_at: Time(exp_s * 1_000).to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_environment() {
        let listens = |given: &[(&str, &str)]| {
            let variables = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            port(&variables.collect()).map_err(|error| error.to_string())
        };
        assert_eq!(listens(&[]), Ok(3000));
        assert_eq!(listens(&[("PORT", "81"), ("WS_PORT", "82")]), Ok(81));
        assert_eq!(listens(&[("PORT", ""), ("WS_PORT", "0")]), Ok(0));
        for value in ["-1", "65536", "hunter2"] {
            let error = listens(&[("WS_PORT", value)]).unwrap_err();
            assert!(error.contains("WS_PORT must be a port, 0 to 65535") && !error.contains(value), "{error}");
        }
    }
}
