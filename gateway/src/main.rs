//! The local gateway as a command: serves everything on one port, signs tokens, opens sockets.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway::forward::LambdaUrl;
use gateway::local::{self, Local, Settings, StartError};
use gateway::{DEFAULT_URL, client, console};
use shared::auth;
use shared::clock::Clock;
use shared::config::{Config, ConfigError, Origins};
use shared::function;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is configured wrongly, by convention (sysexits.h, EX_CONFIG).
const EX_CONFIG: u8 = 78;

/// Carillon on a laptop: every function in one process, nothing to install.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Args)]
struct Serve {
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The address to listen on; other than loopback, there is no /_gateway/*
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The folder in which the record and the signing secret lie
    #[arg(long, default_value = ".local", global = true)]
    data: PathBuf,
    /// The template to serve
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml"), hide_default_value = true)]
    template: PathBuf,
    /// Call the functions at this URL, where `make watch` runs them, instead of in this process
    #[arg(long, value_name = "URL")]
    lambda: Option<LambdaUrl>,
}

#[derive(Subcommand)]
enum Command {
    /// Sign a token with JWT_SECRET, or with the secret of the data folder
    Token {
        /// Who it is for: the user id
        #[arg(long)]
        sub: String,
        /// What it allows, separated by spaces: notify:send, notify:admin
        #[arg(long, default_value = "")]
        scope: String,
        /// For how many seconds it is good
        #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(1..))]
        ttl: u32,
    },
    /// Bring the Postgres database at DATABASE_URL up to date
    Migrate,
    /// Open a socket as a user and print what arrives
    Listen {
        /// Who listens: the user id
        #[arg(long)]
        sub: String,
        /// The local gateway
        #[arg(long, default_value = DEFAULT_URL)]
        url: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, serve } = Arguments::parse();
    let done = match command {
        None => run(serve).await,
        Some(Command::Token { sub, scope, ttl }) => token(&serve.data, &sub, &scope, ttl),
        Some(Command::Migrate) => migrate().await,
        Some(Command::Listen { sub, url }) => client::listen(&url, &sub).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough.
        Err(error)
            if error.downcast_ref().is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            let configured = matches!(error.downcast_ref(), Some(StartError::Config(_)));
            if configured { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(serve: Serve) -> Result<(), client::BoxError> {
    // Migrating, the database remarks on what is there already.
    let usual = "info,sqlx::postgres::notice=warn";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Listened for before it is ready, so that whoever waits for that line can stop it.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let settings = Settings {
        host: serve.host,
        port: serve.port,
        data: serve.data.clone(),
        template: serve.template,
        variables: std::env::vars().collect(),
        clock: Clock::system(),
        lambda: serve.lambda,
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

async fn migrate() -> Result<(), client::BoxError> {
    let config = Config::read(|name| std::env::var(name).ok(), &["DATABASE_URL"], Origins::Loopback);
    let record = function::record(&config.map_err(StartError::from)?).map_err(StartError::from)?;
    let version = record.migrate().await.map_err(|error| StartError::from(ConfigError(vec![error.to_string()])))?;
    Ok(console::print_line(&format!("the database has every migration up to {version}"))?)
}

fn token(data: &Path, sub: &str, scope: &str, ttl_s: u32) -> Result<(), client::BoxError> {
    let mut config = Config::read(|name| std::env::var(name).ok(), &[], Origins::Loopback).map_err(StartError::from)?;
    config.jwt_secret = Some(local::existing_secret(&config, data)?);
    let exp_s = Clock::system().now_ms() / 1_000 + i64::from(ttl_s);
    Ok(console::print_line(&auth::sign(&config, sub, scope, exp_s)?)?)
}
