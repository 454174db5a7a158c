//! How to connect to an instance, as the configuration says.

use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(target_os = "linux")]
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult, TlsCertificates,
};

use crate::config::{RedisConfig, RedisInstance};
use crate::secrets::Renewal;

/// How long the kernel keeps a connection whose peer acknowledges nothing.
#[cfg(target_os = "linux")]
const DEAD_PEER: Duration = Duration::from_secs(5);

/// Redis cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The URL does not say where Redis is.
    #[error(
        "REDIS_URL (and each of REDIS_URLS) must read redis://[user:password@]host[:port][/database], or rediss:// for TLS"
    )]
    Url,
    /// The prefix contains characters that mean something in a key.
    #[error("REDIS_KEY_PREFIX must be 1 to 64 visible ASCII characters without braces")]
    Prefix,
    /// The authorities that `rediss://` is to trust cannot be read.
    #[error("SSL_CERT_FILE must name a readable file of PEM certificates")]
    Authorities,
}

/// The way to an instance whose credentials may be replaced while they are in use.
pub(super) struct Access {
    config: RedisConfig,
    protocol: ProtocolVersion,
    /// Reads the credentials again; `None` if no secret has them.
    renewal: Option<Renewal>,
    /// The instance with the last credentials, and what opens connections with them.
    current: Mutex<(RedisInstance, Client)>,
}

impl Access {
    pub(super) fn new(
        config: &RedisConfig,
        instance: &RedisInstance,
        protocol: ProtocolVersion,
        renewal: Option<Renewal>,
    ) -> Result<Self, SetupError> {
        let current = (instance.clone(), client(config, instance, protocol)?);
        Ok(Self { config: config.clone(), protocol, renewal, current: Mutex::new(current) })
    }

    /// Opens connections with the last credentials.
    pub(super) fn client(&self) -> Client {
        self.lock().1.clone()
    }

    /// Reads the credentials again, since the server has refused them. Whether there are others, which the client has from now on.
    pub(super) async fn is_renewed(&self) -> bool {
        let Some(renewal) = &self.renewal else { return false };
        let config = renewal.after_refusal().await;
        let Some(redis) = &config.redis else { return false };
        let mut current = self.lock();
        let instance = &current.0;
        let own = redis.instances.iter().find(|other| other.address() == instance.address());
        // All servers of a cluster have the credentials of the one that the configuration names.
        let named = redis.instances.first().filter(|_| self.config.is_cluster);
        let Some(renewed) = own.or(named).map(|other| instance.with_credentials_of(other)) else { return false };
        if renewed.url == instance.url {
            return false;
        }
        let Ok(client) = client(&self.config, &renewed, self.protocol) else { return false };
        *current = (renewed, client);
        true
    }

    fn lock(&self) -> MutexGuard<'_, (RedisInstance, Client)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens connections with this protocol: RESP3 lets the server send first, so a connection that it closed is noticed;
/// subscriptions need RESP2.
pub(super) fn client(
    config: &RedisConfig,
    instance: &RedisInstance,
    protocol: ProtocolVersion,
) -> Result<Client, SetupError> {
    // The detailed error might quote the URL.
    let info = connection_info(instance, protocol).map_err(|_| SetupError::Url)?;
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let Some(authorities) = config.authorities.as_ref().filter(|_| is_tls) else {
        return Client::open(info).map_err(|_| SetupError::Url);
    };
    let pem = std::fs::read_to_string(authorities).map_err(|_| SetupError::Authorities)?;
    // Without a certificate no server would be trusted, and Redis would be away forever without a reason.
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(SetupError::Authorities);
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.into()) };
    Client::build_with_tls(info, certificates).map_err(|_| SetupError::Authorities)
}

fn connection_info(instance: &RedisInstance, protocol: ProtocolVersion) -> RedisResult<ConnectionInfo> {
    let info = instance.url.reveal().into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(DEAD_PEER);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}
