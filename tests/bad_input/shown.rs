//! G. What is shown to users: nothing that a browser would run or follow to another place.

use futures_util::FutureExt;
use harness::World;
use serde_json::{Value, json};

use crate::row::{Group, Row, SEND, get, invalid, row, send_with};

pub(crate) fn group() -> Group {
    Group {
        letter: 'G',
        title: "What is shown",
        variables: &[("RATE_LIMIT_SEND_TYPES", "like=off")],
        rows: [links(), texts()].into_iter().flatten().collect(),
    }
}

const URL: &[&str] = &["actionUrl"];
const MARKUP: &[&str] = &[
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</title>",
    "{{7*7}}",
    "${7*7}",
    "\"><svg/onload=alert(1)>",
];

fn links() -> Vec<Row> {
    let to = |url: &str| send_with("actionUrl", url);
    vec![
        row("S133", "`javascript:` in many spellings").calls(
            [
                "javascript:alert(1)",
                "JaVaScRiPt:alert(1)",
                "java\tscript:alert(1)",
                "java\nscript:alert(1)",
                "\u{1}javascript:alert(1)",
                " javascript:alert(1)",
                "&#106;avascript:alert(1)",
                "javascript&colon;alert(1)",
                "/\u{7f}",
            ]
            .map(to),
            invalid(URL),
        ),
        row("S134", "other schemes").calls(
            [
                "data:text/html,<script>",
                "vbscript:x",
                "blob:https://x/1",
                "file:///etc/passwd",
                "intent://x#Intent;end",
                "app:x",
                "http://app.example.com/",
                "ftp://x",
            ]
            .map(to),
            invalid(URL),
        ),
        row("S135", "paths that a browser reads as another origin").calls(
            [
                "//evil.com",
                "/\\evil.com",
                "\\\\evil.com",
                "/%5Cevil.com",
                "/%5cevil.com",
                "/%2Fevil.com",
                "/%2fevil.com",
                "/.//evil.com",
                "https:evil.com",
                "https:/evil.com",
                "https:///evil.com",
                "https://",
                "/ /evil",
                "/\t/evil",
                "/\n/evil",
                "reports/1",
                "",
                "?x",
                "#x",
            ]
            .map(to),
            invalid(URL),
        ),
        row("S136", "https to any host").note("The contract has no list of hosts: every https URL is good.").script(
            |world| {
                shown_as_they_are(world, "actionUrl", &["https://evil.com/", "https://a.example.com:8443/x?y#z"])
                    .boxed_local()
            },
        ),
        row("S137", "a host that is not what it seems")
            .note("The contract does not compare names: an IDN is a host like any other.")
            .calls(
                [
                    "https://app.example.com@evil.com",
                    "https://app.example.com%40evil.com",
                    "https://app.example.com:443@evil.com/",
                    "https://user:pass@app.example.com/",
                    "https://app.example.com\\@evil.com",
                    "https://exa mple.com/",
                    "https://app.example.com:99999/",
                    "https://app.example.com:port/",
                    "https://[::1/",
                    "https://%/",
                    "https://a..b^c/",
                ]
                .map(to),
                invalid(URL),
            ),
        row("S138", "markup in the query of a path").script(|world| {
            shown_as_they_are(world, "actionUrl", &["/reports/123?x=<script>", "/", "/a/b?c=d#e", "/%20"]).boxed_local()
        }),
        row("S141", "icons and images")
            .note("There are no such members; inside `data` they are data.")
            .call(send_with("icon", "javascript:alert(1)"), invalid(&["icon"]))
            .call(send_with("image", "https://x/y.png"), invalid(&["image"])),
    ]
}

fn texts() -> Vec<Row> {
    vec![
        row("S139", "markup and templates in a title")
            .script(|world| shown_as_they_are(world, "title", MARKUP).boxed_local()),
        row("S140", "what ends a script in a page")
            .call(send_with("title", "a\u{2028}b"), invalid(&["title"]))
            .script(|world| shown_as_they_are(world, "title", &["<!--", "</script>", "]]>"]).boxed_local())
            .script(|world| shown_as_they_are(world, "body", &["<!-- \u{2028} </script>"]).boxed_local()),
        row("S142", "the headers of the test page").script(|world| page_headers(world).boxed_local()),
        row("S143", "formulas in an export").left_out("there is no export"),
        row("S144", "the header of a mail in a title").calls(
            ["Hi\r\nBcc: all@example.com", "Hi\rX: y", "Hi\nX: y", "Hi\u{b}X", "Hi\u{c}X"]
                .map(|title| send_with("title", title)),
            invalid(&["title"]),
        ),
    ]
}

/// Each value is stored exactly as it is, and arrives so over HTTP and over a socket.
async fn shown_as_they_are(world: &World, member: &str, values: &[&str]) {
    let (shop, reader) = (world.service("shop"), world.user("reader"));
    let mut device = reader.connects().await;
    for value in values {
        let mut body = json!({"type": "like", "userId": "reader", "title": "Hi"});
        body[member] = (*value).into();
        let sent = shop.posts(SEND, body).await.expect(202);
        assert_eq!(device.receives("notification").await["notification"][member], *value);
        let id = sent["notifications"][0]["id"].as_str().unwrap();
        let got = reader.gets(&format!("/api/notifications/{id}")).await;
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.expect(200)[member], *value);
    }
}

async fn page_headers(world: &World) {
    let page = get("/test/redis-notification").anonymous().send(world).await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").to_owned();
    let socket = format!("connect-src 'self' ws://{}", world.address());
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "style-src 'self';",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        &socket,
    ] {
        assert!(policy.contains(part), "{part} is missing in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    for (name, value) in
        [("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff"), ("cache-control", "no-store")]
    {
        assert_eq!(page.header(name), value, "{name}");
    }
    // The policy would not run them: no script and no handler stands in the document itself.
    for inline in ["<script>", "onload=", "onclick=", "onerror=", "javascript:", "<style"] {
        assert!(!page.text.contains(inline), "{inline}");
    }
    let script = get("/test/redis-notification/page.js").anonymous().send(world).await;
    assert_eq!((script.status, script.header("x-content-type-options")), (200, "nosniff"));
    assert!(script.header("content-type").starts_with("text/javascript"));
    assert_eq!(Value::Null, script.json());
}
