//! F. Web Push and other requests that go out.

use std::path::Path;

use futures_util::FutureExt;

use crate::row::{Feature, Group, Row, row};

pub(crate) fn group() -> Group {
    Group { letter: 'F', title: "Web Push and other outgoing requests", variables: &[], rows: rows() }
}

fn rows() -> Vec<Row> {
    let endpoints = [
        ("S116", "an endpoint without https"),
        ("S117", "an endpoint on this machine"),
        ("S118", "the address of a metadata service"),
        ("S119", "addresses in other notations"),
        ("S120", "addresses inside others"),
        ("S121", "private and reserved networks"),
        ("S122", "a trusted name in another place of the URL"),
        ("S123", "other ports, look-alikes, 2,049 characters"),
        ("S124", "a name whose address is private"),
        ("S125", "a name whose second address is private"),
        ("S126", "a redirect to a private address"),
        ("S127", "an answer without end"),
        ("S128", "keys that are none"),
        ("S129", "a notification that is too large to encrypt"),
        ("S130", "500 subscriptions of one user"),
        ("S131", "a subscription that is gone"),
    ];
    let waiting = endpoints.map(|(id, sent)| row(id, sent).waits_for(Feature::WebPush));
    let forged = row("S132", "an event that names another endpoint for pushes")
        .note("No function reads it: the endpoint is configuration.")
        .script(|_| endpoint_from_configuration().boxed_local());
    waiting.into_iter().chain([forged]).collect()
}

/// No source of a function knows the member of the event.
async fn endpoint_from_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut folders, mut files) = (vec![root.join("functions"), root.join("shared/src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                assert!(!source.contains("domain_name") && !source.contains("domainName"), "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 100, "only {files} sources were found");
}
