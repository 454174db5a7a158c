//! Endpoints of push services, which strangers choose, and the list of those that are sent to.

use http::Uri;
use shared::web_push::endpoint::{Endpoint, PushHosts, Reach};
use url::{Host, Url};

use crate::target::{Target, signature};

pub(crate) fn target() -> Target {
    let seeds = [
        "https://fcm.googleapis.com/fcm/send/dpH5lCsTSSM:APA91bHqjZxM0VImWWqDRN7U0a3AycjUf4O-byuxb_w",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAAADHBqPvLDjs%2bkq%2f%3d",
        "https://push.internal:8443/a",
        "http://127.0.0.1:8080/push/1",
        "https://[2a00:1450:4001::1]/",
        "https://2130706433/",
        "fcm.googleapis.com, push.internal:8443, [::1]:443, 10.0.0.1",
    ];
    Target {
        name: "endpoints",
        seeds: seeds.map(|seed| seed.as_bytes().to_vec()).into(),
        words: &[
            "@",
            "\\",
            "%2e",
            "%00",
            "xn--",
            "[::ffff:",
            "0x7f",
            ":443",
            ":22",
            "//",
            "localhost",
            ".",
            "#",
            "?",
            "ｆ",
        ],
        attempt: Box::new(attempt),
    }
}

fn attempt(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let by_default = Endpoint::new(&text, &PushHosts::default());
    if let Ok(endpoint) = &by_default {
        let url = as_others_read(endpoint);
        assert_eq!((url.scheme(), url.port_or_known_default()), ("https", Some(443)), "{text:?}");
        let is_name = matches!(url.host(), Some(Host::Domain(name)) if name.contains('.') && !name.ends_with('.'));
        assert!(is_name, "{text:?}");
        assert_eq!(PushHosts::default().reach(endpoint), Some(Reach::Public));
    }
    let listed: PushHosts = "push.internal:8443,127.0.0.1:8080,[::1]:443,10.0.0.1,fcm.googleapis.com".parse().unwrap();
    let by_list = Endpoint::new(&text, &listed);
    if let Ok(endpoint) = &by_list {
        let url = as_others_read(endpoint);
        let place = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let expected = match place {
            ("fcm.googleapis.com", 443) => Reach::Public,
            ("push.internal", 8443) | ("127.0.0.1", 8080) | ("[::1]", 443) => Reach::Any,
            other => panic!("{text:?} leads to {other:?}"),
        };
        assert_eq!(listed.reach(endpoint), Some(expected), "{text:?}");
    }
    signature((by_default.err(), by_list.err(), text.parse::<PushHosts>().is_ok()))
}

/// The URL of an endpoint, which whatever else reads it must understand in the same way.
fn as_others_read(endpoint: &Endpoint) -> Url {
    let (url, uri) = (Url::parse(endpoint.as_str()).unwrap(), endpoint.as_str().parse::<Uri>().unwrap());
    assert_eq!(url.as_str(), endpoint.as_str());
    assert_eq!((url.host_str(), url.port()), (uri.host(), uri.port_u16()), "{uri}");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{uri}");
    assert_eq!(Endpoint::stored(endpoint.as_str()).as_ref(), Some(endpoint));
    url
}
