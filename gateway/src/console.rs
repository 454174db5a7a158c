//! What the gateway says on its terminal: the first screen, and the one line that programs wait for.

// Standard output is this module's whole purpose; logs go to standard error.
#![allow(clippy::print_stdout)]

use std::path::Path;

use crate::local::Local;

/// How long the tokens of the first screen are good for.
const TOKEN_TTL_S: u64 = 24 * 60 * 60;

/// Says where it listens, where data lie, and how to make it ring; last of all that it is ready.
pub fn first_screen(local: &Local, data: &Path) {
    let base = format!("http://{}", local.address());
    let socket = local.app.config.ws_url.as_deref().unwrap_or_default();
    println!("Carillon serves {base} and {socket}");
    println!("Data lie in {}; without that folder it begins anew.", data.display());
    for warning in &local.warnings {
        println!("In the template: {warning}");
    }
    println!();
    println!("Open a socket, in a second terminal:");
    println!("  cargo run -- listen --sub alice{}", at(&base));
    println!("Ring it, in a third:");
    match local.token("shop", "notify:send", TOKEN_TTL_S) {
        Ok(token) => println!("{}", ring(&base, &token.token)),
        Err(reason) => println!("  (no token could be signed: {reason})"),
    }
    println!();
    println!("ready {base}");
}

/// Prints one line.
pub fn say(line: &str) {
    println!("{line}");
}

/// The option that names another gateway than the usual one.
fn at(base: &str) -> String {
    if base == crate::DEFAULT_URL { String::new() } else { format!(" --url {base}") }
}

fn ring(base: &str, token: &str) -> String {
    format!(
        "  curl {base}/api/notifications/send \\\n    \
         -H 'Authorization: Bearer {token}' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"type\":\"greeting\",\"userIds\":[\"alice\"],\"title\":\"It rings\"}}'"
    )
}
