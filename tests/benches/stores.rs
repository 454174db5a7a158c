//! What stands behind the gateway while it is measured.

use std::path::Path;

use harness::{postgres_server, redis_server};

use crate::carillon::Carillon;

/// Where record and moment are.
#[derive(Clone, Copy)]
pub(crate) enum Stores {
    /// SQLite in a data folder, and the memory of the gateway.
    Here,
    /// Postgres and Redis on this machine, over loopback and durable as they come; new, for each start.
    Servers,
}

impl Stores {
    /// Starts a gateway on them.
    pub(crate) async fn start(self, program: &Path, data: &Path) -> Carillon {
        let variables = match self {
            Self::Here => Vec::new(),
            Self::Servers => {
                let (database, redis) = (postgres_server::database().await, redis_server::own_prefix());
                vec![
                    ("DATABASE_URL", database.reveal().to_owned()),
                    ("REDIS_URL", redis.url.reveal().to_owned()),
                    ("REDIS_KEY_PREFIX", redis.prefix),
                ]
            }
        };
        Carillon::start_with(program, data, &variables).await
    }

    /// A figure's name.
    pub(crate) fn named(self, figure: &str) -> String {
        match self {
            Self::Here => figure.to_owned(),
            Self::Servers => format!("servers: {figure}"),
        }
    }
}
