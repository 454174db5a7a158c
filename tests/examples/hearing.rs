//! The programs in `examples/` that listen on Redis hear of what happens.

use std::path::{Path, PathBuf};

use harness::World;
use harness::redis_server::own_prefix;
use serde_json::json;
use tokio::process::Command;

use crate::program::{ROOT, Running, Tool, program};

/// A system whose Redis the programs listen on too.
struct Heard {
    world: World,
    url: String,
    prefix: String,
}

impl Heard {
    async fn new() -> Self {
        let redis = own_prefix();
        let url = redis.instances[0].url.reveal().to_owned();
        let world = World::with(&[("REDIS_URL", &url), ("REDIS_KEY_PREFIX", &redis.prefix)]).await;
        Self { world, url, prefix: redis.prefix }
    }

    /// Starts a program on the Redis at these URLs.
    fn listens(&self, tool: Tool, example: &str, urls: &str) -> Running {
        let mut command: Command = program(tool, &[example], "");
        command.env("REDIS_URL", urls).env("REDIS_KEY_PREFIX", &self.prefix);
        Running::start(command)
    }

    /// Sends a notification and emits an event; returns their ids.
    async fn happens(&self) -> [String; 2] {
        let shop = self.world.service("shop");
        let send = json!({"type": "like", "userId": "alice", "title": "Hi"});
        let sent = shop.posts("/api/notifications/send", send).await.expect(202);
        let event = json!({"type": "dashboard", "name": "orders", "userIds": ["alice"]});
        let emitted = shop.posts("/api/events/emit", event).await.expect(202);
        [&sent["notifications"][0]["id"], &emitted["eventId"]].map(|id| id.as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn redis_cli_hears_of_notifications_and_emitted_events() {
    let heard = Heard::new().await;
    // Bash runs the script, which needs no curl.
    let mut program = heard.listens(Tool::Curl, "examples/hear.sh", &heard.url);
    for pattern in ["notification-events", "channel:*"] {
        let subscribed = [program.prints().await, program.prints().await, program.prints().await];
        assert_eq!(subscribed[..2], ["psubscribe".to_owned(), format!("{}:{pattern}", heard.prefix)]);
    }
    let [notification, event] = heard.happens().await;
    for (channel, id) in [("notification-events", notification), ("channel:system-events", event)] {
        assert_eq!(program.prints().await, "pmessage");
        program.prints().await;
        assert_eq!(program.prints().await, format!("{}:{channel}", heard.prefix));
        let body = program.prints().await;
        assert!(body.contains(&id), "{body}");
    }
    heard.world.stops().await;
}

#[tokio::test]
async fn node_hears_of_notifications_and_emitted_events() {
    if Tool::Node.is_skipped() {
        return;
    }
    let heard = Heard::new().await;
    // Beside the packages that the client's tests install.
    let copy = Copied::new("examples/hear.mjs");
    // The first instance is away; the program hears the other one all the same.
    let urls = format!("redis://127.0.0.1:1,{}", heard.url);
    let mut program = heard.listens(Tool::Node, copy.0.to_str().unwrap(), &urls);
    assert_eq!(program.prints().await, "listening");
    let [notification, event] = heard.happens().await;
    for (channel, id) in [("notification-events", notification), ("channel:system-events", event)] {
        // The body may take several lines.
        let mut printed = program.prints().await;
        assert!(printed.starts_with(channel), "{printed}");
        while !printed.ends_with('}') {
            printed += &program.prints().await;
        }
        assert!(printed.contains(&id), "{printed}");
    }
    heard.world.stops().await;
}

/// A copy of an example where its package is found; removed at the end.
struct Copied(PathBuf);

impl Copied {
    fn new(example: &str) -> Self {
        let file = Path::new(example).file_name().unwrap().to_str().unwrap();
        let copy = Path::new(ROOT).join(format!("client/node_modules/{}-{file}", std::process::id()));
        std::fs::copy(Path::new(ROOT).join(example), &copy).unwrap();
        Self(copy)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
