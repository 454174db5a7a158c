//! A restore with the commands of docs/operating.md: what the backup has is there and goes on, what came after it is gone,
//! and clients notice.

use std::time::Duration;

use harness::postgres_server::{self, PostgresServer};
use harness::redis_server::RedisServer;
use harness::{Answer, Listener, START_MS, World, binaries};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;
use tokio::process::Command;

const SEND: &str = "/api/notifications/send";
/// How long after the backup a send is due that was accepted before.
const DELAY: Duration = Duration::from_secs(60);

/// What makes the deployment whose database is backed up.
const DEPLOYMENT: &str = "
    psql -X -q -c 'CREATE ROLE carillon_owner LOGIN CREATEROLE' postgres
    createdb --owner=carillon_owner carillon
    export DATABASE_URL=postgres://carillon_owner:…@server/carillon
    export FUNCTIONS_DATABASE_URL=postgres://carillon_functions:…@server/carillon
    carillon migrate
";

#[tokio::test]
async fn a_database_that_is_restored_as_documented_goes_on_where_the_backup_ends() {
    let [backup, restore, renew] = documented();
    let rehearsal = Rehearsal::new().await;
    let before = rehearsal.gateway("carillon").await;
    let chat = accepts(&before).await;
    let kept = orders(&before, 7).await;
    let backed_up = shown(&before, &chat).await;
    rehearsal.runs(&backup).await;

    let lost = orders(&before, 8).await;
    before.user("carol").posts("/api/notifications/read-all", json!({})).await.expect(200);
    assert_eq!(says(&before, &chat, "lost").await, 3);
    assert_ne!(shown(&before, &chat).await, backed_up);
    let cursor = before.user("carol").cursor().await;
    before.stops().await;
    rehearsal.runs(&[restore, renew].concat()).await;

    let after = rehearsal.gateway("carillon_restored").await;
    after.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!(shown(&after, &chat).await, backed_up);
    let mut tab = comes_back(&after, &cursor).await;
    let repeated = orders(&after, 7).await;
    assert_eq!((repeated.header("idempotency-replayed"), &repeated.text), ("true", &kept.text));
    let repeated = orders(&after, 8).await;
    assert_eq!((repeated.header("idempotency-replayed"), &repeated.text), ("", &lost.text));
    let event = tab.hears_of("order 8").await;
    assert_ne!(epoch(event["cursor"].as_str().unwrap()), epoch(&cursor));
    assert_eq!(says(&after, &chat, "anew").await, 3);
    assert_eq!(said(&shown(&after, &chat).await), ["1", "2", "anew"]);
    rehearsal.clock.advance(DELAY);
    after.drains().await;
    tab.hears_of("reminder").await;
    after.stops().await;
}

/// The commands of the section about restoring, block by block.
fn documented() -> [String; 3] {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, section) = text.split_once("\n## Restoring the database\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<String>>().try_into().unwrap()
}

/// The servers of a deployment, and its operator.
struct Rehearsal {
    postgres: PostgresServer,
    redis: RedisServer,
    clock: Clock,
    /// Where the operator's backup is.
    folder: TempDir,
}

impl Rehearsal {
    async fn new() -> Self {
        let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
        let folder = tempfile::tempdir().unwrap();
        let rehearsal = Self { postgres, redis, clock: Clock::manual(START_MS), folder };
        rehearsal.runs(DEPLOYMENT).await;
        rehearsal
    }

    /// Runs commands in a shell, with the address of the server in place of the documented one.
    async fn runs(&self, commands: &str) {
        let port = self.postgres.port().to_string();
        let commands = commands.replace("…@server", &format!("any@127.0.0.1:{port}"));
        let carillon = binaries::gateway().parent().unwrap().to_owned();
        let folders = [postgres_server::binaries(), carillon, "/usr/bin".into(), "/bin".into()];
        let variables = [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "postgres")];
        let mut shell = Command::new("sh");
        shell.env_clear().envs(variables).env("PATH", std::env::join_paths(folders).unwrap());
        shell.args(["-euc", &commands]).current_dir(self.folder.path()).kill_on_drop(true);
        let done = shell.output().await.unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{commands}\n{stdout}{stderr}");
    }

    /// A gateway on one of the databases, with the role of the functions.
    async fn gateway(&self, database: &str) -> World {
        let database = format!("postgres://carillon_functions:any@127.0.0.1:{}/{database}", self.postgres.port());
        let redis = format!("redis://127.0.0.1:{}", self.redis.port());
        let variables = [
            ("DATABASE_URL", database.as_str()),
            // The role may not migrate, which a gateway does at its start unless there is a pooler.
            ("DATABASE_POOLER", "transaction"),
            ("REDIS_URL", &redis),
            // A drain that lingers until a row is due would race with the one that the test runs.
            ("DRAIN_LINGER_MS", "0"),
        ];
        World::on(&variables, self.clock.clone()).await
    }
}

/// Has everything accepted that the backup is to have; returns a chat.
async fn accepts(world: &World) -> String {
    let (shop, carol) = (world.service("shop"), world.user("carol"));
    let read = shop.rings(&["carol"], "read").await;
    carol.posts(&format!("/api/notifications/{read}/read"), json!({})).await.expect(204);
    shop.rings(&["carol"], "unread").await;
    let reminder = json!({
        "type": "greeting", "userIds": ["carol"], "title": "reminder", "delayMs": DELAY.as_millis() as u64,
    });
    shop.posts(SEND, reminder).await.expect(202);
    let asked = json!({"kind": "direct", "participantIds": ["bob"]});
    let chat = world.user("alice").posts("/api/chats", asked).await.expect(201)["id"].as_str().unwrap().to_owned();
    world.user("bob").posts(&format!("/api/chats/{chat}/accept"), json!({})).await.expect(200);
    for body in ["1", "2"] {
        says(world, &chat, body).await;
    }
    chat
}

/// Sends the same to carol whenever it is called with the same number.
async fn orders(world: &World, number: u32) -> Answer {
    let (title, key) = (format!("order {number}"), format!("order-{number}"));
    let order = json!({"type": "order", "userIds": ["carol"], "title": title, "idempotencyKey": key});
    let answer = world.service("shop").posts(SEND, order).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer
}

/// Sends a message with this body as alice; returns its `seq`.
async fn says(world: &World, chat: &str, body: &str) -> Value {
    let message = json!({"clientId": body, "body": body});
    let path = format!("/api/chats/{chat}/messages");
    world.user("alice").posts(&path, message).await.expect(201)["seq"].clone()
}

/// What users see, except for cursors, which another epoch changes.
async fn shown(world: &World, chat: &str) -> Value {
    let (carol, bob) = (world.user("carol"), world.user("bob"));
    let mut inbox = carol.gets("/api/notifications").await.expect(200);
    inbox["cursor"] = Value::Null;
    for item in inbox["items"].as_array_mut().unwrap() {
        item["cursor"] = Value::Null;
    }
    let chats = bob.gets("/api/chats").await.expect(200);
    let messages = bob.gets(&format!("/api/chats/{chat}/messages")).await.expect(200);
    json!({"inbox": inbox, "chats": chats, "messages": messages})
}

/// The bodies of the messages that are shown.
fn said(shown: &Value) -> Vec<&str> {
    shown["messages"]["items"].as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap()).collect()
}

/// Returns to the inbox with a cursor of before the restore, which is refused everywhere; returns a stream.
async fn comes_back(world: &World, cursor: &str) -> Listener {
    let carol = world.user("carol");
    let synced = carol.gets(&format!("/api/sync?since={cursor}")).await;
    let acknowledged = carol.posts("/api/ack", json!({ "cursor": cursor })).await;
    for answer in [synced, acknowledged] {
        assert_eq!((answer.status, answer.code().as_str()), (410, "cursor_expired"));
    }
    let headers = [("authorization", carol.authorization()), ("last-event-id", cursor)];
    let mut tab = Listener::open(world.address(), "", &headers).await.unwrap();
    tab.hears("resync").await;
    tab
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('.').unwrap().0
}
