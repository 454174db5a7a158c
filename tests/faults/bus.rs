//! The bus of a Redis Cluster, on which its servers talk to each other, led through proxies that can cut one server off.
//! Clients still reach that server: it is on the smaller side of a partition, and they are on both.

use std::io;
use std::time::{Duration, Instant};

use harness::redis_server::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How far into a packet of the bus the id of its sender is.
const SENDER_AT: usize = 40;
const ID_LENGTH: usize = 40;
/// Longer than a cluster takes to tell all its servers of a port.
const TOLD: Duration = Duration::from_secs(20);

/// A proxy in front of each server's bus port. They end when this is dropped.
pub(crate) struct Bus {
    /// The id of the server that is cut off.
    isolated: watch::Sender<Option<String>>,
    ports: Vec<u16>,
    proxies: Vec<JoinHandle<()>>,
}

impl Bus {
    /// Has all servers of a cluster call each other through proxies; returns once they do.
    pub(crate) async fn of(servers: &[&RedisServer]) -> Self {
        let mut bus = Self { isolated: watch::Sender::new(None), ports: Vec::new(), proxies: Vec::new() };
        for server in servers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            bus.ports.push(listener.local_addr().unwrap().port());
            let (id, port) = (id(server), bus_port(server));
            let isolated = bus.isolated.clone();
            bus.proxies.push(tokio::spawn(async move {
                while let Ok((caller, _)) = listener.accept().await {
                    tokio::spawn(lead(caller, port, id.clone(), isolated.subscribe()));
                }
            }));
        }
        announce(servers, &bus.ports).await;
        bus
    }

    /// Cuts one server off from the others, or none.
    pub(crate) fn isolate(&self, server: Option<&RedisServer>) {
        self.isolated.send_replace(server.map(id));
    }

    /// Has the servers call each other directly again.
    pub(crate) async fn end(self, servers: &[&RedisServer]) {
        let ports: Vec<u16> = servers.iter().map(|server| bus_port(server)).collect();
        announce(servers, &ports).await;
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.proxies.iter().for_each(JoinHandle::abort);
    }
}

/// Has each server tell the others a port of its bus, and waits until all have heard of it.
async fn announce(servers: &[&RedisServer], ports: &[u16]) {
    for (server, port) in servers.iter().zip(ports) {
        server.does(&["CONFIG", "SET", "cluster-announce-bus-port", &port.to_string()]);
    }
    let until = Instant::now() + TOLD;
    let knows_all = |server: &&RedisServer| {
        let nodes: String = server.answers(&["CLUSTER", "NODES"]).unwrap();
        let is_told = |port: &u16| nodes.contains(&format!("@{port} ")) || nodes.contains(&format!("@{port},"));
        ports.iter().all(is_told) && !nodes.contains("disconnected")
    };
    while !servers.iter().all(knows_all) {
        assert!(Instant::now() < until, "the servers have not heard of each other's ports");
        sleep(Duration::from_millis(100)).await;
    }
}

fn id(server: &RedisServer) -> String {
    server.answers(&["CLUSTER", "MYID"]).unwrap()
}

fn bus_port(server: &RedisServer) -> u16 {
    let [_, port]: [String; 2] = server.answers(&["CONFIG", "GET", "cluster-port"]).unwrap();
    port.parse().unwrap()
}

/// Leads one link to a server, unless it or its caller is cut off. The caller says who it is in its first packet.
async fn lead(mut caller: TcpStream, port: u16, server: String, mut isolated: watch::Receiver<Option<String>>) {
    let led = async {
        let mut begin = [0; SENDER_AT + ID_LENGTH];
        caller.read_exact(&mut begin).await?;
        let sender = String::from_utf8_lossy(&begin[SENDER_AT..]).into_owned();
        let is_cut = |isolated: &Option<String>| isolated.as_ref().is_some_and(|id| *id == sender || *id == server);
        if is_cut(&isolated.borrow()) {
            return Ok(());
        }
        let mut to_server = TcpStream::connect(("127.0.0.1", port)).await?;
        to_server.write_all(&begin).await?;
        tokio::select! {
            _ = copy_bidirectional(&mut caller, &mut to_server) => {}
            _ = isolated.wait_for(is_cut) => {}
        }
        io::Result::Ok(())
    };
    // A link that fails is made anew.
    let _ = led.await;
}
