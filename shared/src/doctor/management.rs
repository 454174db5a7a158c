//! Whether frames can be pushed: what the management API (`@connections`) answers to a push to a connection that does not exist.

use super::finding::Finding;

const CHECK: &str = "sockets";

/// Why a push to a connection that does not exist was not answered with `GoneException`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotGone {
    /// The status; `None` if there was no answer.
    pub status: Option<u16>,
    /// The name of the exception, or why there was no answer.
    pub reason: String,
}

/// What the answer to such a push says.
pub fn of_push(pushed: &Result<(), NotGone>) -> Finding {
    let NotGone { status, reason } = match pushed {
        Ok(()) => return Finding::ok(CHECK, "WS_ENDPOINT answers, and this role may push"),
        Err(not_gone) => not_gone,
    };
    match status {
        None => Finding::problem(
            CHECK,
            format!("WS_ENDPOINT does not answer: {reason}"),
            "set it to https://API.execute-api.REGION.amazonaws.com/STAGE; a function in a VPC needs a route to the internet (NAT)",
        ),
        Some(403) => Finding::problem(
            CHECK,
            format!("WS_ENDPOINT refuses a push: 403 {reason}"),
            "allow this role execute-api:ManageConnections on …/STAGE/POST/@connections/* as template.yaml does, and see \
             that WS_ENDPOINT ends with the stage and AWS_REGION is its region",
        ),
        Some(404) => Finding::problem(
            CHECK,
            "WS_ENDPOINT has no @connections: 404",
            "see that it names the WebSocket API, not the HTTP API, and ends with the stage",
        ),
        Some(status) => Finding::problem(
            CHECK,
            format!(
                "WS_ENDPOINT answers {status} {reason} to a push to a connection that does not exist, where 410 GoneException is due"
            ),
            "see that it names the WebSocket API of this deployment",
        ),
    }
}
