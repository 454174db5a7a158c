//! The stores behind the gateway while it is measured.

use std::path::Path;

use harness::{postgres_server, redis_server};

use crate::carillon::{Carillon, unlimited};

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
    /// Starts a gateway on these stores, without limits.
    pub(crate) async fn start(self, program: &Path, data: &Path) -> Carillon {
        let variables = [self.variables().await, unlimited()].concat();
        Carillon::start_with(program, data, &variables).await
    }

    /// Starts a gateway on these stores with the limits that it has by default.
    pub(crate) async fn start_limited(self, program: &Path, data: &Path) -> Carillon {
        Carillon::start_with(program, data, &self.variables().await).await
    }

    async fn variables(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Local => Vec::new(),
            Self::Servers => {
                let (database, redis) = (postgres_server::database().await, redis_server::own_prefix());
                vec![
                    ("DATABASE_URL", database.reveal().to_owned()),
                    ("REDIS_URL", redis.instances[0].url.reveal().to_owned()),
                    ("REDIS_KEY_PREFIX", redis.prefix),
                ]
            }
        }
    }

    /// The name of a figure, which includes the stores unless they are local.
    pub(crate) fn named(self, figure: &str) -> String {
        match self {
            Self::Local => figure.to_owned(),
            Self::Servers => format!("servers: {figure}"),
        }
    }
}
