//! A missing or invalid variable stops a function at startup, with one line that names it and contains no secret.

use harness::binaries::{self, Profile};
use harness::sandbox::{init, refused, required_variables};

use crate::environment::with;

/// The variables that each function requires; `notfound` requires none.
const NEEDS: [(&str, &[&str]); 21] = [
    ("chats", chats::NEEDS),
    ("connect", connect::NEEDS),
    ("deadletters", deadletters::NEEDS),
    ("disconnect", disconnect::NEEDS),
    ("drain", drain::NEEDS),
    ("emit", emit::NEEDS),
    ("health", health::NEEDS),
    ("history", history::NEEDS),
    ("inbox", inbox::NEEDS),
    ("message", message::NEEDS),
    ("metrics", metrics::NEEDS),
    ("migrate", migrate::NEEDS),
    ("notfound", &[]),
    ("page", page::NEEDS),
    ("presence", presence::NEEDS),
    ("push", push::NEEDS),
    ("send", send::NEEDS),
    ("stream", stream::NEEDS),
    ("testing", testing::NEEDS),
    ("tickets", tickets::NEEDS),
    ("users", users::NEEDS),
];

#[tokio::test]
async fn a_missing_variable_stops_the_start_and_is_named() {
    let built = binaries::built(Profile::Dev);
    assert_eq!(NEEDS.map(|(function, _)| function.to_owned()).to_vec(), binaries::functions());
    for (function, needs) in NEEDS {
        for missing in needs {
            let variables: Vec<_> = required_variables().into_iter().filter(|(name, _)| name != missing).collect();
            let (status, log) = refused(&built[function], &variables).await;
            assert_eq!(status, 78, "{function} without {missing}: {log}");
            assert!(log.contains(&format!("{missing} is required")), "{function}: {log}");
            assert_eq!(log.lines().count(), 1, "{function}: {log}");
        }
    }
}

#[tokio::test]
async fn a_function_starts_without_its_servers() {
    for (function, _) in NEEDS {
        init(&binaries::built(Profile::Dev)[function], &required_variables()).await;
    }
}

#[tokio::test]
async fn an_invalid_store_url_stops_the_start_and_is_not_logged() {
    let built = binaries::built(Profile::Dev);
    for url in
        ["sqlite:///hunter2.db", "postgres://root:hunter2@h:port/x", "mysql://root:hunter2@127.0.0.1/x", "hunter2"]
    {
        let (status, log) = refused(&built["send"], &with(required_variables(), "DATABASE_URL", url)).await;
        assert_eq!(status, 78, "{url}: {log}");
        assert!(log.contains("DATABASE_URL") && !log.contains("hunter2"), "{url}: {log}");
    }
    let (status, log) =
        refused(&built["send"], &with(required_variables(), "REDIS_URL", "http://:hunter2@127.0.0.1")).await;
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("REDIS_URL") && !log.contains("hunter2"), "{log}");
}
