//! What the gateway says on its terminal: the first screen, and the one line that programs wait for.

use std::io::{self, Write};
use std::path::Path;

use crate::forward::LambdaUrl;
use crate::local::Local;
use crate::server::DEFAULT_URL;

/// How long the tokens of the first screen are good for.
const TOKEN_TTL_S: u64 = 24 * 60 * 60;

/// Says where it listens, where data lie or functions run, and how to make it ring; last of all that it is ready.
pub fn first_screen(local: &Local, data: &Path) {
    let base = format!("http://{}", local.address());
    let socket = local.config.ws_url.as_deref().unwrap_or_default();
    let mut lines = vec![
        format!("Carillon serves {base} and {socket}; Ctrl-C stops it."),
        match &local.lambda {
            None if local.config.database_url.is_some() => "Data lie where DATABASE_URL says.".to_owned(),
            None => format!("Data lie in {}; without that folder it begins anew.", data.display()),
            Some(url) => lambda_instructions(local, url, data),
        },
        String::new(),
    ];
    if local.address().ip().is_loopback() {
        if local.config.test_endpoints {
            lines.push(format!("Watch it: {base}/test/redis-notification"));
        }
        lines.push("Open a socket, in a second terminal:".into());
        lines.push(format!("  cargo run -- listen --sub alice{}", url_option(&base)));
        lines.push("Ring it, in a third:".into());
    } else {
        lines
            .push("Everybody who reaches this machine can call it, so nobody gets tokens from /_gateway/token.".into());
        lines.push("Ring alice:".into());
    }
    lines.push(match local.token("shop", "notify:send", TOKEN_TTL_S) {
        Ok(token) => send_example(&base, &token.token),
        Err(reason) => format!("  (no token could be signed: {reason})"),
    });
    lines.push(String::new());
    if !local.warnings.is_empty() {
        lines.push(format!("Of the template: {}", local.warnings.join("; ")));
    }
    lines.push(format!("ready {base}"));
    // Whoever closed our standard output still wants to be served.
    let _ = print_line(&lines.join("\n"));
}

/// Prints one line to standard output; logs go to standard error. Fails where nobody reads it any more.
pub fn print_line(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The option that names another gateway than the usual one.
fn url_option(base: &str) -> String {
    if base == DEFAULT_URL { String::new() } else { format!(" --url {base}") }
}

/// What functions in other processes must be told. No store of a laptop serves them: many processes, one record.
fn lambda_instructions(local: &Local, url: &LambdaUrl, data: &Path) -> String {
    let endpoint = local.config.ws_endpoint.as_deref().unwrap_or_default();
    let socket = local.config.ws_url.as_deref().unwrap_or_default();
    let secret = data.join("jwt-secret");
    format!(
        "It calls the functions at {url}. Run them there, on servers of yours, in another terminal:\n  \
         export DATABASE_URL=postgres://… REDIS_URL=redis://…\n  \
         export WS_ENDPOINT={endpoint} WS_URL={socket}\n  \
         export JWT_SECRET=\"${{JWT_SECRET:-$(cat {})}}\"\n  \
         make watch",
        secret.display()
    )
}

fn send_example(base: &str, token: &str) -> String {
    format!(
        "  curl {base}/api/notifications/send \\\n    \
         -H 'Authorization: Bearer {token}' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -H 'Idempotency-Key: greeting-1' \\\n    \
         -d '{{\"type\":\"greeting\",\"userIds\":[\"alice\"],\"title\":\"It rings\"}}'"
    )
}
