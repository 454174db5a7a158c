//! Only functions that push to sockets, close them or wake the drain may, and each may only what it does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::template::list;
use crate::{paths, tokens};

/// The right to push to sockets and to close them.
const MANAGE: &str = "execute-api:ManageConnections";

/// The right to wake the drain.
const INVOKE: &str = "lambda:InvokeFunction";

/// What the code of a function does: `POST` pushes to sockets, `DELETE` closes them, `invoke` wakes the drain.
pub(crate) fn used(source: &str) -> BTreeSet<&'static str> {
    let tokens = tokens::shipped(source);
    let calls = |name: &str| {
        tokens
            .windows(4)
            .any(|words| [".", "push", ".", name].iter().zip(words).all(|(expected, word)| word.text == *expected))
    };
    let pushes = |path: &paths::Path| {
        let acts = [["shared", "delivery", "deliver"], ["shared", "inbox", "accept"]];
        path.segments.len() > 3 && acts.iter().any(|act| path.segments.starts_with(&act.map(str::to_owned)))
    };
    let mut used = BTreeSet::new();
    if calls("push") || paths::named_in(source).iter().any(pushes) {
        used.insert("POST");
    }
    if calls("close") {
        used.insert("DELETE");
    }
    if source.contains("function::start_waking(") {
        used.insert("invoke");
    }
    used
}

/// What a function may do by its policies, and what it may too much.
fn granted(policies: &Value) -> (BTreeSet<&'static str>, Vec<String>) {
    let (mut granted, mut wide) = (BTreeSet::new(), Vec::new());
    let statements = list(policies).into_iter().flat_map(|policy| list(&policy["Statement"]));
    for statement in statements {
        let actions: Vec<&str> = list(&statement["Action"]).into_iter().filter_map(Value::as_str).collect();
        wide.extend(actions.iter().filter(|action| action.contains('*')).map(ToString::to_string));
        for resource in list(&statement["Resource"]) {
            if actions == [INVOKE] && *resource == json!({ "Fn::GetAtt": ["drain", "Arn"] }) {
                granted.insert("invoke");
                continue;
            }
            let resource = resource.to_string();
            let verb = ["POST", "DELETE"].into_iter().find(|verb| resource.contains(&format!("/{verb}/@connections/")));
            if resource == "\"*\"" || (verb.is_none() && actions.contains(&MANAGE)) {
                wide.push(resource);
            } else if actions.contains(&MANAGE) {
                granted.extend(verb);
            }
        }
    }
    (granted, wide)
}

/// A function may do what it does, does what it may, and has no rights by the dozen.
pub(crate) fn ungranted(name: &str, policies: &Value, used: &BTreeSet<&'static str>) -> Vec<String> {
    let (granted, wide) = granted(policies);
    let wide = wide.into_iter().map(|what| format!("{name}: may do more than it has to: {what}"));
    let spare = granted.difference(used).map(|verb| format!("{name}: may {verb} and does not"));
    let missing = used.difference(&granted).map(|verb| format!("{name}: does {verb} and may not"));
    wide.chain(spare).chain(missing).collect()
}

#[test]
fn what_pushes_or_closes_is_seen_in_the_code() {
    let both = BTreeSet::from(["DELETE", "POST"]);
    assert_eq!(used("fn f() { app.push.push(&x); app\n.push\n.close(&y) }"), both);
    let acts = "use shared::delivery::deliver; fn f() { deliver::tell(app) }";
    assert_eq!(used(acts), BTreeSet::from(["POST"]));
    assert_eq!(used("fn main() { function::start_waking(x) }"), BTreeSet::from(["invoke"]));
    assert!(used("fn f() { list.push(push.close()); // app.push.push()\n }").is_empty());
}

#[test]
fn rights_by_the_dozen_are_reported() {
    let push = "x/live/POST/@connections/*";
    for (action, resource, problems) in [
        (MANAGE, push, 0),
        (MANAGE, "x/live/*", 2),
        (MANAGE, "*", 2),
        ("execute-api:*", push, 2),
        ("*", push, 2),
        ("lambda:InvokeFunction", "*", 2),
        ("lambda:InvokeFunction", "arn:of:one", 1),
    ] {
        let policies = json!([{ "Statement": [{ "Effect": "Allow", "Action": action, "Resource": resource }] }]);
        let found = ungranted("new", &policies, &BTreeSet::from(["POST"]));
        assert_eq!(found.len(), problems, "{action} on {resource}: {found:?}");
    }
}
