//! The send that several modules of these tests share.

use harness::{HttpAnswer, TestApp, event, invoke};
use serde_json::{Value, json};

/// Sends to alice, with these additional members.
pub(crate) async fn sends(test: &TestApp, members: Value) -> HttpAnswer {
    let mut payload = json!({"type": "like", "userId": "alice", "title": "Hi"});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = payload.to_string().into();
    invoke(&test.app, send::handle, sending).await
}
