//! The stores behind the gateway while it is measured.

use std::path::Path;

use harness::{postgres_server, redis_server};

use crate::carillon::Carillon;

/// The stores of the record and the moment.
#[derive(Clone, Copy)]
pub(crate) enum Stores {
    /// SQLite in a data folder, and the memory of the gateway.
    Local,
    /// Postgres and Redis on this machine, over loopback and with the durability of the test servers; a new database
    /// and key prefix for each start.
    Servers,
}

impl Stores {
    /// Starts a gateway on these stores.
    pub(crate) async fn start(self, program: &Path, data: &Path) -> Carillon {
        let variables = match self {
            Self::Local => Vec::new(),
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

    /// The name of a figure, which includes the stores unless they are local.
    pub(crate) fn named(self, figure: &str) -> String {
        match self {
            Self::Local => figure.to_owned(),
            Self::Servers => format!("servers: {figure}"),
        }
    }
}
