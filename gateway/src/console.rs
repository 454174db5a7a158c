//! What the command prints to standard output: the first screen, and the `ready` line that programs wait for.

use std::io::{self, Write};
use std::path::Path;

use crate::forward::LambdaUrl;
use crate::local::{Lambda, Local, VAPID_FILE};
use crate::server::DEFAULT_URL;

/// How long the token on the first screen is valid.
const TOKEN_TTL_S: u64 = 24 * 60 * 60;

/// Prints the addresses, where the data or the functions are, and how to try it out. The last line is `ready {url}`.
pub fn first_screen(local: &Local, data: &Path) {
    let base = format!("http://{}", local.address());
    let socket = local.config.ws_url.as_deref().unwrap_or_default();
    let mut lines = vec![
        format!("Carillon is running at {base} and {socket}. Press Ctrl-C to stop it."),
        match &local.lambda {
            None if local.config.database_url.is_some() => "The data is in the database at DATABASE_URL.".to_owned(),
            None => format!("The data is in {}. Delete that folder to start from scratch.", data.display()),
            Some(Lambda::Spawn(settings)) => format!(
                "The functions are processes of their own, from {}. The data is in the database at DATABASE_URL.",
                settings.folder.display()
            ),
            Some(Lambda::At(url)) => lambda_instructions(local, url, data),
        },
        String::new(),
    ];
    if local.address().ip().is_loopback() {
        if local.config.test_endpoints {
            lines.push(format!("Test page: {base}/test/redis-notification"));
        }
        if local.config.jwks_url.is_some() {
            lines.push("Tokens come from the identity provider of JWT_JWKS_URL. Send alice a notification:".into());
        } else {
            lines.push("In a second terminal, listen as alice:".into());
            lines.push(format!("  cargo run -- listen --sub alice{}", url_option(&base)));
            lines.push("In a third one, send alice a notification:".into());
        }
    } else {
        lines.push("Other machines can reach this address, so /_gateway/token and the like are switched off.".into());
        lines.push("Send alice a notification:".into());
    }
    lines.push(match local.token("shop", "notify:send", TOKEN_TTL_S) {
        Ok(token) => send_example(&base, &token.token),
        // Only the identity provider of JWT_JWKS_URL can sign one.
        Err(_) => send_example(&base, "<a token of your identity provider, with the scope notify:send>"),
    });
    lines.push(String::new());
    if !local.warnings.is_empty() {
        lines.push(format!("Warnings about the template:\n  {}", local.warnings.join("\n  ")));
    }
    lines.push(format!("ready {base}"));
    // A program that has closed our standard output still wants to be served.
    let _ = print_line(&lines.join("\n"));
}

/// Prints one line to standard output; logs go to standard error. Fails if the reader has closed it.
pub fn print_line(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// The option that `listen` needs if the gateway is not at the default URL.
fn url_option(base: &str) -> String {
    if base == DEFAULT_URL { String::new() } else { format!(" --url {base}") }
}

/// How to run the functions as processes of their own. They need servers: SQLite and memory belong to one process.
fn lambda_instructions(local: &Local, url: &LambdaUrl, data: &Path) -> String {
    let endpoint = local.config.ws_endpoint.as_deref().unwrap_or_default();
    let socket = local.config.ws_url.as_deref().unwrap_or_default();
    let tokens = if local.config.jwks_url.is_some() {
        "export JWT_JWKS_URL=… JWT_ISSUER=… JWT_AUDIENCE=…   # as for this gateway".to_owned()
    } else {
        format!("export JWT_SECRET=\"${{JWT_SECRET:-$(cat {})}}\"", data.join("jwt-secret").display())
    };
    let keys = data.join(VAPID_FILE);
    format!(
        "The functions are invoked at {url}. To run them there, on your own servers, in another terminal:\n  \
         export DATABASE_URL=postgres://… REDIS_URL=redis://…\n  \
         export WS_ENDPOINT={endpoint} WS_URL={socket}\n  \
         {tokens}\n  \
         [ \"$VAPID_PUBLIC_KEY\" ] || export $(cat {})\n  \
         make watch",
        keys.display()
    )
}

fn send_example(base: &str, token: &str) -> String {
    format!(
        "  curl {base}/api/notifications/send \\\n    \
         -H 'Authorization: Bearer {token}' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -H 'Idempotency-Key: greeting-1' \\\n    \
         -d '{{\"type\":\"greeting\",\"userIds\":[\"alice\"],\"title\":\"Hello\"}}'"
    )
}
