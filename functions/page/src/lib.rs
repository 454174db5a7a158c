//! `GET /test/redis-notification`: the test page, as one document, one script, one stylesheet and the service worker that
//! shows pushes. It gets all its data from the same API as any other client.

use lambda_http::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use lambda_http::{Body, Request, Response};
use shared::config::Config;
use shared::error::Error;
use shared::http::call::{Call, Route};
use shared::http::reply::Reply;

const DOCUMENT: &str = "/test/redis-notification";
const SCRIPT: &str = "/test/redis-notification/page.js";
const STYLE: &str = "/test/redis-notification/page.css";
const WORKER: &str = "/test/redis-notification/push-worker.js";

/// The only parameter of the document.
const USER: &str = "user";

/// The routes that this function answers.
pub const ROUTES: &[Route] = &[
    Route { path: DOCUMENT, methods: &["GET"] },
    Route { path: SCRIPT, methods: &["GET"] },
    Route { path: STYLE, methods: &["GET"] },
    Route { path: WORKER, methods: &["GET"] },
];
/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["WS_URL"];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Carillon</title>\
    <p>The test page has not been built. <code>make run</code> builds it with Node 20.19 or later and npm, \
    and reports the reason if it cannot.";

/// Answers an HTTP call. Failures become error responses.
pub async fn handle(config: &Config, request: Request) -> Response<Body> {
    let call = Call::new("page", request);
    call.answer_uncounted(async { page(config, &call) }).await
}

fn page(config: &Config, call: &Call) -> Result<Reply, Error> {
    if !config.test_endpoints {
        return Err(Error::NotFound);
    }
    let (path, _) = call.route(ROUTES)?;
    let mut query = call.query()?;
    if path == DOCUMENT {
        // Read in the browser: whose page it is.
        query.take(USER);
    }
    query.finish()?;
    Ok(match path {
        SCRIPT => Reply::text(include_str!(concat!(env!("OUT_DIR"), "/page.js")), JAVASCRIPT),
        WORKER => Reply::text(include_str!(concat!(env!("OUT_DIR"), "/push-worker.js")), JAVASCRIPT),
        STYLE => Reply::text(include_str!(concat!(env!("OUT_DIR"), "/page.css")), "text/css; charset=utf-8"),
        _ => {
            let built = include_str!(concat!(env!("OUT_DIR"), "/index.html"));
            let document = if built.is_empty() { NOT_BUILT } else { built };
            Reply::text(document, "text/html; charset=utf-8")
                .header(CONTENT_SECURITY_POLICY, policy(config))
                .header(REFERRER_POLICY, "no-referrer")
        }
    })
}

/// The content security policy: the page runs only its own script and worker, and connects only to its own server, socket
/// and event stream.
fn policy(config: &Config) -> String {
    let urls = [&config.ws_url, &config.events_url];
    let origins: Vec<&str> = urls.into_iter().flatten().map(|url| origin(url)).collect();
    format!(
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        origins.join(" ")
    )
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}
