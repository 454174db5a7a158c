//! Redis servers of the tests, on free ports: one that all tests of a process share, and others that a test may kill,
//! stop and fill.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{FromRedisValue, RedisError, RedisResult};
use shared::config::{RedisConfig, RedisInstance, Secret};
use tempfile::TempDir;

/// How the names of the servers' folders begin; the number of the process follows.
const FOLDER: &str = "carillon-redis-";

/// A server for one test. It ends when this is dropped, or with the thread that started it.
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    /// The file that says by how much its clock is off, if it has a clock of its own.
    clock: Option<PathBuf>,
    folder: TempDir,
    process: Child,
}

impl RedisServer {
    /// Starts an empty server; returns once it answers.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with additional command-line options, such as `["--requirepass", "secret"]`.
    pub fn with(options: &[&str]) -> Self {
        // Another process may take the free port before the server listens.
        let started = (0..5).find_map(|_| Self::try_with(options));
        started.expect("redis-server did not start")
    }

    /// The same; `None` if a port was taken meanwhile.
    pub(crate) fn try_with(options: &[&str]) -> Option<Self> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let port = free_port();
        let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir().unwrap();
        let process = spawn(port, &folder, &options, None);
        let mut server = Self { port, options, clock: None, folder, process };
        server.is_ready().then_some(server)
    }

    /// Starts a server that also speaks TLS on the returned port, with a certificate issued by `authority`.
    pub fn with_tls(authority: &Authority) -> (Self, u16) {
        let port = free_port();
        let options = [&["--tls-port".to_owned(), port.to_string()][..], &authority.options()].concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        (Self::with(&options), port)
    }

    /// The port on the loopback interface that it listens on, without TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The configuration of a moment on this server, with this key prefix.
    pub fn config(&self, prefix: &str) -> RedisConfig {
        config(&format!("redis://127.0.0.1:{}", self.port), prefix)
    }

    /// Kills the server, as a crash would.
    pub fn is_killed(&mut self) {
        // Both fail only if the server has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Restarts the server on the same port; returns once it answers. It is empty, except for the contents of an
    /// append-only file if that is enabled.
    pub fn is_back(&mut self) {
        self.is_killed();
        self.process = spawn(self.port, &self.folder, &self.options, self.clock.as_deref());
        assert!(self.is_ready(), "redis-server did not come back");
    }

    /// Restarts the server with a clock of its own, which [`sets_clock`](Self::sets_clock) sets.
    pub fn gets_own_clock(&mut self) {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/shifted_clock.c");
        let library = self.folder.path().join("shifted_clock.so");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).status();
        assert!(built.is_ok_and(|built| built.success()), "a C compiler is needed: apt-get install gcc");
        self.clock = Some(self.folder.path().join("clock"));
        self.sets_clock(0);
        self.is_back();
    }

    /// Sets the server's own clock so many seconds ahead of that of the machine, or behind it.
    pub fn sets_clock(&self, ahead_s: i64) {
        let file = self.clock.as_ref().expect("it has a clock of its own");
        // Renamed, so that the server never reads half of it.
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{ahead_s:+}\n")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// The append-only files and their lengths, which grow with every write.
    pub fn appended(&self) -> Vec<(PathBuf, u64)> {
        let folder = self.folder.path().join("appendonlydir");
        let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| Some((file.path(), file.metadata().ok()?.len()))).collect()
    }

    /// Kills the server, and shortens its append-only files to what they were, as if the power had failed after that was synced.
    pub fn loses_power(&mut self, synced: &[(PathBuf, u64)]) {
        self.is_killed();
        for (file, length) in synced {
            let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(*length).unwrap();
        }
    }

    /// Kills the server and deletes everything that it has on disk, except for its place in a cluster.
    pub fn is_wiped(&mut self) {
        self.is_killed();
        for entry in std::fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == "nodes.conf") {
                continue;
            }
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.unwrap();
        }
    }

    /// Stops the process: connections are neither answered nor refused.
    pub fn hangs(&self) {
        self.signal("STOP");
    }

    /// Resumes the process that [`hangs`](Self::hangs) stopped.
    pub fn goes_on(&self) {
        self.signal("CONT");
    }

    /// The reply to a command, which is given as a list of words.
    pub fn answers<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let (name, arguments) = command.split_first().expect("a command has a name");
        loop {
            let connected = client.get_connection_with_timeout(Duration::from_secs(10));
            match connected.and_then(|mut connection| redis::cmd(name).arg(arguments).query(&mut connection)) {
                // By the signal of a child process that ended.
                Err(error) if is_interrupted(&error) => {}
                answer => return answer,
            }
        }
    }

    /// Executes a command. Panics if it fails.
    pub fn does(&self, command: &[&str]) {
        let done: RedisResult<redis::Value> = self.answers(command);
        done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.answers(&["KEYS", "*"]).unwrap();
        keys.sort();
        keys
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(sent.unwrap().success(), "kill -{name}");
    }

    /// Whether the server answers within ten seconds. A request for a password counts as an answer.
    fn is_ready(&mut self) -> bool {
        for _ in 0..1_000 {
            match self.answers::<String>(&["PING"]) {
                Err(error) if error.code().is_none() => {}
                _ => return true,
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.is_killed();
    }
}

/// A certificate authority that no client trusts by default, and a server certificate for 127.0.0.1 issued by it.
pub struct Authority(TempDir);

impl Authority {
    /// Creates an authority; clients trust it only if they are given its certificate.
    pub fn found() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        let own = ["-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=An authority for tests"];
        authority.openssl(&[&["req", "-x509"][..], &key, &own].concat());
        let server = ["-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=127.0.0.1"];
        let extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        let by = ["-CA", "authority.pem", "-CAkey", "authority.key"];
        authority.openssl(&[&["req", "-x509"][..], &key, &server, &extensions, &by].concat());
        authority
    }

    /// The PEM file of the certificate that clients have to trust.
    pub fn certificate(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// The PEM files of the server's certificate and of its key.
    pub fn issued(&self) -> (PathBuf, PathBuf) {
        (self.file("server.pem"), self.file("server.key"))
    }

    /// The options with which a server uses its certificate.
    pub fn options(&self) -> Vec<String> {
        let files = [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "authority.pem")];
        let options =
            files.map(|(option, file)| [format!("--tls-{option}-file"), self.file(file).display().to_string()]);
        options.concat().into_iter().chain(["--tls-auth-clients".to_owned(), "no".to_owned()]).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let done = done.expect("openssl 3 is needed: apt-get install openssl");
        assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// The configuration of a moment on the server that all tests of this process share. Every call returns a new prefix.
pub fn own_prefix() -> RedisConfig {
    config(&format!("redis://127.0.0.1:{}", shared_port(0)), &new_prefix())
}

/// The same on three servers, among which everything is divided.
pub fn own_prefix_on_several() -> RedisConfig {
    let ports = [0, 1, 2].map(shared_port);
    several(&ports, &new_prefix())
}

pub(crate) fn new_prefix() -> String {
    static PREFIXES: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

/// The port of one of the servers that all tests of this process share.
fn shared_port(server: usize) -> u16 {
    static PORTS: [OnceLock<u16>; 3] = [const { OnceLock::new() }; 3];
    *PORTS[server].get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // The server dies with the thread that started it, so that thread must outlive every test.
        std::thread::spawn(move || {
            let server = RedisServer::start();
            // The server stores nothing there, and nothing would remove the folder at the end.
            std::fs::remove_dir_all(server.folder.path()).unwrap();
            sender.send(server.port).unwrap();
            loop {
                std::thread::park();
            }
        });
        receiver.recv().expect("redis-server did not start")
    })
}

/// Removes what is left of servers that were still needed when their process ended.
pub(crate) fn remove_folders_of_ended_processes() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !std::path::Path::new("/proc").join(process).exists()) {
            // Another process may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A port on the loopback interface on which nothing listens just now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An address on the loopback interface at which nothing listens just now.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The configuration of a moment on the servers at these ports of this machine, with this key prefix.
pub fn several(ports: &[u16], prefix: &str) -> RedisConfig {
    let instance = |port: &u16| RedisInstance { url: Secret::new(format!("redis://127.0.0.1:{port}")), weight: 1 };
    RedisConfig { instances: ports.iter().map(instance).collect(), ..config("redis://127.0.0.1", prefix) }
}

/// The configuration of a moment at this URL, with this key prefix and the default timeouts.
pub fn config(url: &str, prefix: &str) -> RedisConfig {
    RedisConfig {
        instances: vec![RedisInstance { url: Secret::new(url), weight: 1 }],
        prefix: prefix.to_owned(),
        connect_timeout: Duration::from_secs(2),
        attempts: 3,
        is_cluster: false,
        authorities: None,
    }
}

/// Starts a server that stores nothing on disk and ends with the thread that started it, even if that thread is killed.
fn spawn(port: u16, folder: &TempDir, options: &[String], clock: Option<&std::path::Path>) -> Child {
    let is_there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(is_there, "redis-server 7.0 or later is needed: apt-get install redis-server");
    let mut command = Command::new("setpriv");
    if let Some(clock) = clock {
        command.env("LD_PRELOAD", clock.with_file_name("shifted_clock.so")).env("SHIFTED_CLOCK", clock);
    }
    command
        .args(["--pdeathsig", "KILL", "redis-server", "--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("setpriv (util-linux) starts redis-server and ends it with the tests")
}

fn is_interrupted(error: &RedisError) -> bool {
    error.is_io_error() && error.to_string().contains("Interrupted system call")
}
