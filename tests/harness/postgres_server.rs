//! Postgres servers of the tests, on free ports and with `fsync` on: one that all tests of a process share, and others
//! that a test may kill and restart.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shared::config::Secret;
use shared::record::postgres::PostgresRecord;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

/// The user id of the unprivileged account under which root starts the server: Postgres refuses to run as root.
pub(crate) const UNPRIVILEGED: u32 = 65_534;
/// `pg_hba.conf`: the roles `guarded` and `made_by_migrate` need their passwords, every other role connects without one.
const ACCESS: &str = "host all guarded,made_by_migrate 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";

/// The URL of a new database on the shared server, with all migrations applied.
pub async fn database() -> Secret {
    database_of(shared_port()).await
}

/// The URL of a database for the role that functions have, which `migrations/roles.sql` gives its rights: it reads and
/// changes rows, and nothing else.
pub async fn as_functions(database: &Secret) -> Secret {
    static ROLE: OnceCell<()> = OnceCell::const_new();
    ROLE.get_or_init(|| does(database, "CREATE ROLE carillon_functions LOGIN")).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/roles.sql");
    // Read by the tests, since the server's user may not reach the folder.
    let rights = std::fs::read_to_string(file).unwrap();
    psql(database, &["-v", "functions=carillon_functions", "-f", "-"], &rights).await;
    Secret::new(database.reveal().replace("postgres@", "carillon_functions@"))
}

/// The same database for statements that take longer than those of functions may.
pub fn without_timeout(database: &Secret) -> Secret {
    Secret::new(format!("{}?options=-c%20statement_timeout%3D0", database.reveal()))
}

/// Creates the role `guarded` on the shared server, whose password is `right`.
pub async fn has_guarded_role(database: &Secret) {
    static ROLE: OnceCell<()> = OnceCell::const_new();
    ROLE.get_or_init(|| does(database, "CREATE ROLE guarded LOGIN PASSWORD 'right'")).await;
}

/// Executes a statement. Panics if it fails.
pub async fn does(database: &Secret, statement: &str) {
    psql(database, &["-c", statement], "").await;
}

/// Runs the client of Postgres with this input. Panics if a statement fails.
async fn psql(database: &Secret, arguments: &[&str], input: &str) {
    let mut command = tokio::process::Command::from(unprivileged(&binaries().join("psql")));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.reveal()]).args(arguments);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Ends the input too.
    process.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let done = process.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A server for one test. It ends when this is dropped, or with the thread that started it.
pub struct PostgresServer {
    port: u16,
    folder: PathBuf,
    /// A shell around the server. It outlives the tests for as long as it takes to stop the server and to remove its
    /// folder.
    process: Child,
}

impl PostgresServer {
    /// Starts a server without test databases; returns once it answers.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap().keep();
        if is_root() {
            std::os::unix::fs::chown(&folder, Some(UNPRIVILEGED), None).unwrap();
        }
        let made = unprivileged(&binaries().join("initdb"))
            .args(["--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(folder.join("data/pg_hba.conf"), ACCESS).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { port, process: spawn(port, &folder), folder };
        server.is_ready();
        server
    }

    /// The URL of a new database on this server, with all migrations applied.
    pub async fn database(&self) -> Secret {
        database_of(self.port).await
    }

    /// The URL of a new database on this server without any table.
    pub async fn empty_database(&self) -> Secret {
        empty_database_of(self.port).await
    }

    /// The port on the loopback interface that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Drops a database, even if it is in use.
    pub async fn drops(&self, database: &str) {
        let postgres = Secret::new(format!("postgres://postgres@127.0.0.1:{}/postgres", self.port));
        does(&postgres, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    }

    /// Kills the server and all its worker processes, as a crash would.
    pub fn is_killed(&mut self) {
        signal("KILL", &self.processes());
        self.process.wait().unwrap();
    }

    /// Stops the server and all its worker processes: connections are neither answered nor refused.
    pub fn hangs(&self) {
        signal("STOP", &self.processes());
    }

    /// Resumes all processes that [`hangs`](Self::hangs) stopped.
    pub fn goes_on(&self) {
        signal("CONT", &self.processes());
    }

    /// The process ids of the server and of its worker processes.
    fn processes(&self) -> String {
        let known = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let postmaster = known.lines().next().unwrap();
        let workers = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        format!("{postmaster} {workers}")
    }

    /// Starts it again on the same data and port; returns once it answers.
    pub fn is_back(&mut self) {
        self.process = spawn(self.port, &self.folder);
        self.is_ready();
    }

    fn is_ready(&self) {
        // After a crash, the server first syncs every file of its data folder.
        for _ in 0..1_200 {
            let asked = unprivileged(&binaries().join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if asked.unwrap().success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Postgres did not start: {}", std::fs::read_to_string(self.folder.join("log")).unwrap_or_default());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            signal("TERM", &self.process.id().to_string());
            let _ = self.process.wait();
        }
        // The shell of a server that was killed and not restarted has ended without removing the folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The port of the server that all tests of this process share.
pub(crate) fn shared_port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // The server dies with the thread that started it, so that thread must outlive every test.
        std::thread::spawn(move || {
            let server = PostgresServer::start();
            sender.send(server.port).unwrap();
            loop {
                std::thread::park();
            }
        });
        receiver.recv().expect("Postgres did not start")
    })
}

async fn database_of(port: u16) -> Secret {
    let url = empty_database_of(port).await;
    let record = PostgresRecord::new(&url, 1).unwrap();
    record.migrate().await.unwrap();
    record.close().await;
    url
}

async fn empty_database_of(port: u16) -> Secret {
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let named = |name: &str| Secret::new(format!("postgres://postgres@127.0.0.1:{port}/{name}"));
    does(&named("postgres"), &format!("CREATE DATABASE {name}")).await;
    named(&name)
}

fn spawn(port: u16, folder: &Path) -> Child {
    // The shell removes the folder only when it is told to end: a killed server needs its data for the restart.
    let script = r#"trap 'kill -INT "$server"; wait "$server"; rm -rf "$FOLDER"; exit' TERM
        "$@" >>"$FOLDER/log" 2>&1 & server=$!; wait "$server""#;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if is_root() {
        command.args(["--reuid", &UNPRIVILEGED.to_string(), "--clear-groups"]);
    }
    command
        .args(["sh", "-c", script, "sh"])
        .arg(binaries().join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"])
        .args(["-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        .env("FOLDER", folder)
        .stdin(Stdio::null())
        .spawn()
        .expect("setpriv (util-linux) starts Postgres and ends it with the tests")
}

/// Uses the `kill` that is built into the shell: the program of that name may not be installed.
fn signal(name: &str, processes: &str) {
    // Processes may have ended in the meantime, which `kill` reports as a failure.
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} {processes}")]).stderr(Stdio::null()).status();
}

/// The folder of the server's programs, and of its clients: on the PATH, or where Debian installs them.
pub fn binaries() -> PathBuf {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let debians = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = on_path.chain(debians.map(|version| version.path().join("bin")));
    let has_all = |folder: &PathBuf| ["postgres", "initdb", "pg_isready"].iter().all(|name| folder.join(name).exists());
    folders.find(has_all).expect("Postgres is needed: apt-get install postgresql")
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &UNPRIVILEGED.to_string(), "--clear-groups"]).arg(program);
    command
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
