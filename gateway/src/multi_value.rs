//! Headers and query parameters in the events of REST and WebSocket APIs: once with the last value of each name, and
//! once with all of its values.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http_event::{forwarded_for, header_text, is_hop_by_hop};
use crate::ids;
use crate::request::query_pairs;

/// All values of each name, in their order.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct MultiValues(pub(crate) BTreeMap<String, Vec<String>>);

impl MultiValues {
    /// The headers of the client and those that API Gateway adds.
    pub(crate) fn of_headers(headers: &HeaderMap, source_ip: &str, port: u16, now_ms: i64) -> Self {
        let passed = headers.keys().filter(|name| !is_hop_by_hop(name));
        let mut all: BTreeMap<String, Vec<String>> = passed
            .map(|name| (canonical_name(name), headers.get_all(name).iter().map(header_text).collect()))
            .collect();
        all.entry("X-Amzn-Trace-Id".into()).or_insert_with(|| vec![ids::trace_id(now_ms)]);
        all.insert("X-Forwarded-For".into(), vec![forwarded_for(headers, source_ip)]);
        all.insert("X-Forwarded-Port".into(), vec![port.to_string()]);
        all.insert("X-Forwarded-Proto".into(), vec!["http".into()]);
        Self(all)
    }

    /// The decoded parameters of a query; `None` if there is none.
    pub(crate) fn of_query(query: &str) -> Option<Self> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in query_pairs(query) {
            all.entry(name).or_default().push(value);
        }
        (!all.is_empty()).then_some(Self(all))
    }

    /// The last value of each name.
    pub(crate) fn last(&self) -> Map<String, Value> {
        self.0.iter().map(|(name, values)| (name.clone(), json!(values.last()))).collect()
    }
}

/// The usual spelling of a header's name, such as `Sec-WebSocket-Key`.
///
/// On AWS the event has the client's own spelling, which hyper does not reveal. Functions should ignore the case.
fn canonical_name(name: &HeaderName) -> String {
    let capitalised = |word: &str| match word {
        "websocket" => "WebSocket".to_owned(),
        _ => word[..1].to_ascii_uppercase() + &word[1..],
    };
    let words = name.as_str().split('-').map(|word| if word.is_empty() { String::new() } else { capitalised(word) });
    words.collect::<Vec<_>>().join("-")
}
