//! PgBouncer in transaction mode, in front of the Postgres server that all tests of a process share. Version 1.18 knows
//! no prepared statements and refuses startup parameters that it does not know, so it is the strictest of poolers.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use shared::config::Secret;
use tempfile::NamedTempFile;

use crate::postgres_server::{self, UNPRIVILEGED, is_root};

/// How many connections to the server the clients of one database share: fewer than a store opens to the pooler, so
/// that statements of one client run on any of them.
const SERVER_CONNECTIONS: u32 = 3;

/// The URL of a database of the shared server by way of the pooler.
pub fn pooled(database: &Secret) -> Secret {
    let (_, name) = database.reveal().rsplit_once('/').unwrap();
    Secret::new(format!("postgres://postgres@127.0.0.1:{}/{name}", shared_port()))
}

/// The port of the pooler that all tests of this process share.
fn shared_port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = configuration(port, postgres_server::shared_port());
        // It ends with the thread that started it, so that thread must outlive every test.
        let path = file.path().to_owned();
        std::thread::spawn(move || spawn(&path).wait());
        // Once it listens, it has read the file.
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return port;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("PgBouncer does not listen");
    })
}

/// Any client may log in, as the one user that is named.
fn configuration(port: u16, server: u16) -> NamedTempFile {
    let configuration = format!(
        "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 1000\n\
         server_idle_timeout = 5\n"
    );
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), configuration).unwrap();
    if is_root() {
        std::os::unix::fs::chown(file.path(), Some(UNPRIVILEGED), None).unwrap();
    }
    file
}

fn spawn(configuration: &Path) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    // It refuses to run as root.
    if is_root() {
        command.args(["--reuid", &UNPRIVILEGED.to_string(), "--clear-groups"]);
    }
    command.arg(program()).arg("-q").arg(configuration).stdin(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("setpriv (util-linux) starts PgBouncer and ends it with the tests")
}

/// The program: on the PATH, or where Debian installs it, which is not on the PATH of every user.
fn program() -> PathBuf {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut folders = on_path.chain([PathBuf::from("/usr/sbin")]);
    let folder = folders.find(|folder| folder.join("pgbouncer").exists());
    folder.expect("PgBouncer is needed: apt-get install pgbouncer").join("pgbouncer")
}
