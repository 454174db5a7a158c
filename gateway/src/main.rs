//! The command `carillon`: serves everything on one port, listens as a user, signs tokens, makes keys for Web Push,
//! migrates the database, renews its epoch, and tells operators what is wrong, what became of a notification, and what
//! Redis has.

mod help;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use gateway::forward::LambdaUrl;
use gateway::local::{self, Lambda, Local, Settings, StartError};
use gateway::{DEFAULT_URL, client, console, doctor, keys, sandboxes, vapid, why};
use shared::auth;
use shared::clock::Clock;
use shared::config::{self, Config, ConfigError};
use shared::function;
use shared::ids::{ChatId, NotificationId, UserId};
use shared::secrets::Secrets;
use shared::telemetry::{otlp, spans};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, Layer};

use crate::help::{
    ABOUT, AFTER_LONG_HELP, DOCTOR_EXAMPLES, DOCTOR_LONG_ABOUT, EPOCH_EXAMPLE, EPOCH_LONG_ABOUT, KEYS_EXAMPLES,
    KEYS_LONG_ABOUT, LISTEN_EXAMPLE, LISTEN_LONG_ABOUT, LONG_ABOUT, MIGRATE_EXAMPLE, MIGRATE_LONG_ABOUT,
    TOKEN_EXAMPLES, TOKEN_LONG_ABOUT, VAPID_EXAMPLE, VAPID_LONG_ABOUT, WHY_EXAMPLES, WHY_LONG_ABOUT,
};

/// The exit status for invalid configuration, by convention (sysexits.h, EX_CONFIG).
const EX_CONFIG: u8 = 78;
/// How long a process of a function may be idle until it is ended. Lambda does not promise any time; it is some minutes.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

#[derive(Parser)]
#[command(name = "carillon", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER_LONG_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Args)]
struct Serve {
    /// Port to listen on; 0 picks a free one [default: PORT or WS_PORT of the environment, else 3000]
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on; /_gateway/token and the like exist on loopback addresses only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Folder for the SQLite database, the generated signing secret and the generated keys for Web Push
    #[arg(long, value_name = "FOLDER", default_value = ".local", global = true)]
    data: PathBuf,
    /// SAM template to serve [default: the template.yaml that carillon was built from]
    #[arg(
        long,
        value_name = "FILE",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml"),
        hide_default_value = true
    )]
    template: PathBuf,
    /// Run the functions as on Lambda instead of in this process: spawn starts their binaries, a URL is where `make watch` runs them
    #[arg(long, value_name = "spawn|URL")]
    lambda: Option<Outside>,
    /// Folder of the functions' binaries for --lambda spawn [default: the folder of this program]
    #[arg(long, value_name = "FOLDER")]
    functions: Option<PathBuf>,
    /// Processes that each function may have at once with --lambda spawn, unless the template reserves some; further calls wait
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    concurrency: u16,
    /// End an invocation that streams its answer when its client disconnects; on AWS it runs on
    #[arg(long)]
    cancel_on_disconnect: bool,
}

/// Where the functions run, if not in this process.
#[derive(Clone)]
enum Outside {
    /// In processes that the gateway starts.
    Spawn,
    At(LambdaUrl),
}

impl FromStr for Outside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "spawn" => Ok(Self::Spawn),
            url => url.parse().map(Self::At).map_err(|problem| format!("{problem}; or it must be spawn")),
        }
    }
}

#[derive(Subcommand)]
enum Command {
    #[command(
        about = "Open a WebSocket as a user and print every frame that arrives",
        long_about = LISTEN_LONG_ABOUT,
        after_help = LISTEN_EXAMPLE
    )]
    Listen {
        /// ID of the user to listen as
        #[arg(long, value_name = "USER")]
        sub: String,
        /// URL of the local gateway
        #[arg(long, default_value = DEFAULT_URL)]
        url: String,
    },
    #[command(
        about = "Sign a token for trying out the API",
        long_about = TOKEN_LONG_ABOUT,
        after_help = TOKEN_EXAMPLES
    )]
    Token {
        /// ID of the user or service that the token is for
        #[arg(long, value_name = "USER")]
        sub: String,
        /// What the token permits, separated by spaces: notify:send, notify:admin
        #[arg(long, value_name = "SCOPES", default_value = "", hide_default_value = true)]
        scope: String,
        /// Seconds until the token expires, at most 400 days
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = 3_600,
            value_parser = clap::value_parser!(u32).range(1..=auth::MAX_TOKEN_LIFE_S)
        )]
        ttl: u32,
    },
    #[command(
        about = "Make a pair of keys for Web Push",
        long_about = VAPID_LONG_ABOUT,
        after_help = VAPID_EXAMPLE
    )]
    Vapid {
        /// A mailto: or https: URL of the operator
        #[arg(long, value_name = "URL", default_value = vapid::LOCAL_SUBJECT)]
        subject: String,
    },
    #[command(
        about = "Apply pending migrations to the Postgres database at DATABASE_URL",
        long_about = MIGRATE_LONG_ABOUT,
        after_help = MIGRATE_EXAMPLE
    )]
    Migrate,
    #[command(
        about = "Renew the epoch of a database that was restored from a backup",
        long_about = EPOCH_LONG_ABOUT,
        after_help = EPOCH_EXAMPLE
    )]
    Epoch {
        #[command(subcommand)]
        act: EpochAct,
    },
    #[command(
        about = "Say what is wrong with the configuration and the servers that it names, and what to do",
        long_about = DOCTOR_LONG_ABOUT,
        after_help = DOCTOR_EXAMPLES
    )]
    Doctor {
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    #[command(
        about = "Tell what became of a notification, and what to do if it has not arrived",
        long_about = WHY_LONG_ABOUT,
        after_help = WHY_EXAMPLES
    )]
    Why {
        /// ID of the notification, from the answer to its send
        #[arg(value_name = "NOTIFICATION")]
        id: NotificationId,
        /// URL of the gateway or the deployment
        #[arg(long, default_value = DEFAULT_URL)]
        url: String,
        /// ID of the recipient, to tell whether it is connected and what its preferences hold back
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    #[command(
        about = "List the Redis keys that concern a user or a chat, with what they have",
        long_about = KEYS_LONG_ABOUT,
        after_help = KEYS_EXAMPLES
    )]
    Keys {
        /// ID of the user
        #[arg(long, required_unless_present = "chat", conflicts_with = "chat")]
        user: Option<String>,
        /// ID of the chat
        #[arg(long)]
        chat: Option<ChatId>,
        /// Type of notifications whose rate limit to list too, beside those of RATE_LIMIT_SEND_TYPES; may be repeated
        #[arg(long = "type", value_name = "TYPE", requires = "user")]
        types: Vec<String>,
    },
}

#[derive(Subcommand)]
enum EpochAct {
    /// Begin another epoch: every cursor of before is expired, and clients fetch everything anew
    Renew,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let outcome = match command {
        None => run(serve).await,
        Some(Command::Token { sub, scope, ttl }) => token(&serve.data, &sub, &scope, ttl).await,
        Some(Command::Vapid { subject }) => new_keys(&subject),
        Some(Command::Migrate) => migrate().await,
        Some(Command::Epoch { act: EpochAct::Renew }) => renew_epoch(&serve.data).await,
        Some(Command::Listen { sub, url }) => client::listen(&url, &sub).await,
        Some(Command::Doctor { json }) => return examine(&serve.data, json).await,
        Some(Command::Why { id, url, user }) => tell(id, url, user).await,
        Some(Command::Keys { user, chat, types }) => list_keys(user, chat, &types).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it, as `head` does; that is no failure.
        Err(error)
            if error.downcast_ref().is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            let is_config_error = matches!(error.downcast_ref(), Some(StartError::Config(_)));
            if is_config_error { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(serve: Serve) -> Result<(), client::BoxError> {
    let variables: HashMap<String, String> = std::env::vars().collect();
    log(&variables);
    // Installed before the `ready` line is printed, so that a program that waits for that line can stop the gateway.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let lambda = match serve.lambda {
        None => None,
        Some(Outside::At(url)) => Some(Lambda::At(url)),
        Some(Outside::Spawn) => Some(Lambda::Spawn(sandboxes::Settings {
            folder: serve.functions.map_or_else(own_folder, Ok)?,
            max_sandboxes: serve.concurrency.into(),
            max_idle: MAX_IDLE,
        })),
    };
    let settings = Settings {
        host: serve.host,
        port: serve.port.map_or_else(|| local::port(&variables), Ok)?,
        data: serve.data.clone(),
        template: serve.template,
        variables,
        clock: Clock::system(),
        lambda,
        cancel_on_disconnect: serve.cancel_on_disconnect,
    };
    let local = Local::start(settings).await?;
    console::first_screen(&local, &serve.data);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    local.stop().await;
    Ok(())
}

/// Starts logging to standard error, and exporting spans if the variables name a collector.
fn log(variables: &HashMap<String, String>) {
    // During migrations Postgres sends a notice for everything that exists already, and invocations are many.
    let default = "info,sqlx::postgres::notice=warn,invocation=warn";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let collector = config::collector(variables);
    match &collector {
        Some(collector) if spans::CAN_EXPORT => {
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            otlp::start(lines.with_filter(filter), collector);
        }
        _ => tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init(),
    }
    if collector.is_some() && !spans::CAN_EXPORT {
        tracing::warn!("OTEL_EXPORTER_OTLP_ENDPOINT: {}", spans::CANNOT_EXPORT);
    }
}

/// Where `cargo build` puts the binaries of all functions too.
fn own_folder() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default())
}

/// The configuration of the environment, with the secrets that it names.
async fn configured(needed: &[&str]) -> Result<(Config, Secrets), StartError> {
    local::configured(&config::environment(), needed, &Clock::system()).await
}

async fn migrate() -> Result<(), client::BoxError> {
    let (config, secrets) = configured(&["DATABASE_URL"]).await?;
    let failed = |error: ConfigError| StartError::from(secrets.naming(&error));
    let record = function::record(&config).map_err(failed)?.renewed_by(secrets.of_database());
    let version = record.migrate().await.map_err(|error| failed(ConfigError(vec![error.to_string()])))?;
    console::print_line(&format!("the database is up to date: its last migration is {version}"))?;
    if let Some(role) = &config.functions_role {
        let given = record.give_functions_role(role).await;
        given.map_err(|error| failed(ConfigError(vec![error.to_string()])))?;
        console::print_line(&format!("the functions have the role {}", role.name))?;
    }
    Ok(())
}

async fn renew_epoch(data: &Path) -> Result<(), client::BoxError> {
    let (config, secrets) = configured(&[]).await?;
    local::renew_epoch(&config, &secrets, data).await?;
    Ok(console::print_line("the database has another epoch: every cursor of before is expired")?)
}

async fn token(data: &Path, sub: &str, scope: &str, ttl_s: u32) -> Result<(), client::BoxError> {
    let (mut config, _) = configured(&[]).await?;
    if config.jwks_url.is_none() {
        config.jwt_secret = Some(local::existing_secret(&config, data)?);
    }
    let now_s = Clock::system().now_ms() / 1_000;
    Ok(console::print_line(&auth::sign(&config, sub, scope, now_s, now_s + i64::from(ttl_s))?)?)
}

fn new_keys(subject: &str) -> Result<(), client::BoxError> {
    Ok(console::print_line(vapid::new_keys(subject)?.trim_end())?)
}

/// Prints the findings. Exits with 1 if there is a problem, and with 78 if a start would refuse the variables.
async fn examine(data: &Path, as_json: bool) -> ExitCode {
    let variables = config::environment();
    let examination = doctor::examine(&variables, data).await;
    // A reader that has closed our output has seen enough.
    let _ = console::print_line(&if as_json { examination.json() } else { examination.text() });
    match (examination.is_config_valid, examination.has_problems()) {
        (false, _) => ExitCode::from(EX_CONFIG),
        (true, true) => ExitCode::FAILURE,
        (true, false) => ExitCode::SUCCESS,
    }
}

async fn tell(id: NotificationId, url: String, user: Option<String>) -> Result<(), client::BoxError> {
    let token = std::env::var("CARILLON_TOKEN").ok().filter(|token| !token.is_empty());
    let story = why::tell(&why::Question { id, url, token, user, now_ms: Clock::system().now_ms() }).await?;
    Ok(console::print_line(story.trim_end())?)
}

async fn list_keys(user: Option<String>, chat: Option<ChatId>, types: &[String]) -> Result<(), client::BoxError> {
    let (config, _) = configured(&[]).await?;
    let listed = match (user, chat) {
        (_, Some(chat)) => keys::of_chat(&config, chat).await?,
        (user, None) => {
            let user = UserId::new(user.unwrap_or_default()).map_err(|required| format!("--user {required}"))?;
            keys::of_user(&config, user, types).await?
        }
    };
    Ok(console::print_line(listed.trim_end())?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_option_and_command_is_described_in_the_help() {
        Arguments::command().debug_assert();
        let mut commands = vec![Arguments::command()];
        while let Some(command) = commands.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
