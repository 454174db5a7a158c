//! The policies in `template.yaml`: each function has exactly the rights that its code uses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::template::{list, members};
use crate::{paths, tokens};

/// The right to push to sockets and to close them.
const MANAGE: &str = "execute-api:ManageConnections";

/// The right to wake the drain.
const INVOKE: &str = "lambda:InvokeFunction";

/// The functions of `shared` that push to sockets, by how their paths begin.
const PUSHING: [&str; 15] = [
    "shared::sockets::outgoing::push",
    "shared::sockets::outgoing::dismiss",
    "shared::sockets::outgoing::close_with",
    "shared::inbox::accept::",
    "shared::inbox::announce::",
    "shared::chat::joining::",
    "shared::chat::reading::",
    "shared::chat::typing::",
    "shared::chat::writing::",
    "shared::delivery::offer::",
    "shared::delivery::resync::",
    "shared::emit::telling::",
    "shared::presence::telling::come_online",
    "shared::presence::telling::stay_online",
    "shared::presence::telling::settle",
];

/// The functions of `shared` that close sockets.
const CLOSING: [&str; 2] = ["shared::sockets::outgoing::close", "shared::sockets::outgoing::dismiss"];

/// What the code of a function does: `POST` pushes to sockets, `DELETE` closes them, `invoke` wakes the drain.
pub(crate) fn used(source: &str) -> BTreeSet<&'static str> {
    let tokens = tokens::shipped(source);
    let calls = |name: &str| {
        tokens
            .windows(4)
            .any(|words| [".", "push", ".", name].iter().zip(words).all(|(expected, word)| word.text == *expected))
    };
    let paths = paths::named_in(source);
    let names = |functions: &[&str]| {
        let wanted = |path: &paths::Path| {
            let path = path.segments.join("::");
            functions.iter().any(|function| path.starts_with(function))
        };
        paths.iter().any(wanted)
    };
    let mut used = BTreeSet::new();
    if calls("push") || names(&PUSHING) {
        used.insert("POST");
    }
    if calls("close") || names(&CLOSING) {
        used.insert("DELETE");
    }
    if source.contains("function::start_waking(") {
        used.insert("invoke");
    }
    used
}

/// The rights that the policies give a function, and those that are too wide.
fn granted(policies: &Value) -> (BTreeSet<&'static str>, Vec<String>) {
    let (mut granted, mut wide) = (BTreeSet::new(), Vec::new());
    let statements = list(policies).into_iter().flat_map(|policy| list(&policy["Statement"]));
    for statement in statements {
        let actions: Vec<&str> = list(&statement["Action"]).into_iter().filter_map(Value::as_str).collect();
        wide.extend(actions.iter().filter(|action| action.contains('*')).map(ToString::to_string));
        for resource in list(&statement["Resource"]) {
            if actions == [INVOKE] && *resource == json!({ "Ref": "drain.Alias" }) {
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

/// What is wrong with the policies of a function: unused, missing and wildcard rights.
pub(crate) fn ungranted(name: &str, policies: &Value, used: &BTreeSet<&'static str>) -> Vec<String> {
    let (granted, wide) = granted(policies);
    let wide = wide.into_iter().map(|what| format!("{name}: has more rights than it needs: {what}"));
    let spare = granted.difference(used).map(|verb| format!("{name}: has an unused right: {verb}"));
    let missing = used.difference(&granted).map(|verb| format!("{name}: lacks a right: {verb}"));
    wide.chain(spare).chain(missing).collect()
}

/// What is wrong with the secrets that a function may read: those of the parameters that its variables have the values of, and no
/// others.
pub(crate) fn unreadable(name: &str, template: &Value) -> Vec<String> {
    let resource = &template["Resources"][name]["Properties"];
    let is_secret = |parameter: &str| template["Parameters"][parameter]["NoEcho"] == true;
    let variables = members(&resource["Environment"]["Variables"]);
    let read: BTreeSet<&str> =
        variables.flat_map(|(_, value)| references(value)).filter(|name| is_secret(name)).collect();
    // The policies of the function, the managed ones that these name, and those of its own role.
    let named = references(&resource["Policies"]).into_iter().map(|policy| &template["Resources"][policy]);
    let role = resource["Role"]["Fn::GetAtt"][0].as_str().map(|role| &template["Resources"][role]);
    let granted: BTreeSet<&str> =
        named.chain(role).flat_map(|policy| references(&policy["Properties"])).filter(|name| is_secret(name)).collect();
    let missing = read.difference(&granted).map(|secret| format!("{name}: may not read the secret of {secret}"));
    let spare = granted.difference(&read).map(|secret| format!("{name}: may read the secret of {secret}"));
    missing.chain(spare).collect()
}

/// What a value refers to.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(object) => match object.get("Ref") {
            Some(name) => name.as_str().into_iter().collect(),
            None => object.values().flat_map(references).collect(),
        },
        _ => Vec::new(),
    }
}

#[test]
fn pushing_closing_and_waking_are_recognised() {
    let both = BTreeSet::from(["DELETE", "POST"]);
    assert_eq!(used("fn f() { app.push.push(&x); app\n.push\n.close(&y) }"), both);
    let offers = "use shared::delivery::offer; fn f() { offer::rows(app) }";
    assert_eq!(used(offers), BTreeSet::from(["POST"]));
    assert_eq!(used("use shared::sockets::outgoing; fn f() { outgoing::dismiss(app) }"), both);
    assert_eq!(used("fn f() { shared::sockets::outgoing::close(app) }"), BTreeSet::from(["DELETE"]));
    assert_eq!(used("fn main() { function::start_waking(x) }"), BTreeSet::from(["invoke"]));
    assert!(used("fn f() { list.push(push.close()); // app.push.push()\n }").is_empty());
}

#[test]
fn wildcard_rights_are_reported() {
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
