//! Accepting a send, in three steps: *admit* decides whether and for whom, *store* makes it durable, *tell* pushes it and
//! leaves the rest to the drain. Another way of storing, or another kind of content, replaces one step: a *fast* accept leaves
//! storing to the drain.

mod admit;
mod fast;
mod store;
mod tell;

use self::admit::Admission;
use self::store::Outcome;
use crate::app::App;
use crate::auth::Caller;
use crate::error::Error;
use crate::ids::SendId;
use crate::inbox::send::NewSend;
use crate::inbox::sends::FirstAnswer;
use crate::telemetry::invocation::{Fact, note};

/// An accepted send.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The body of the response: of a repeat, the first one's, byte for byte.
    pub answer: String,
    /// Whether this is a repeat.
    pub replayed: bool,
}

/// Accepts a send from `caller` on `route`, which is the scope of its key. Once this returns `Ok`, the send is stored, or, if
/// its answer says so, in a log.
pub async fn accept(app: &App, caller: &Caller, route: &str, send: NewSend) -> Result<Accepted, Error> {
    let id = match &send.key {
        Some(key) => SendId::of_key(&caller.user, route, key),
        None => SendId::random(),
    };
    note(Fact::Send(id));
    let begun_ms = app.clock.now_ms();
    let fingerprint = send.fingerprint;
    let admitted = match admit::admit(app, id, send, begun_ms).await? {
        Admission::Admitted(admitted) => admitted,
        Admission::Known(first) => return replay(first, fingerprint),
    };
    let logged = fast::log(app, caller, &admitted, begun_ms).await;
    let stored = match logged {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => store::store(app, caller, &admitted).await,
        Err(error) => Err(error),
    };
    if !matches!(stored, Ok(Outcome::Stored { .. } | Outcome::Logged { .. })) {
        // Repeats and failures cost the recipients nothing.
        admit::give_back(app, &admitted).await;
    }
    match stored? {
        Outcome::Known(first) => replay(first, fingerprint),
        Outcome::Logged { answer } => Ok(Accepted { answer, replayed: false }),
        Outcome::Stored { answer, stored } => {
            tell::tell(app, &admitted, &stored, begun_ms).await;
            Ok(Accepted { answer, replayed: false })
        }
    }
}

/// The first answer, unless the key names another request.
fn replay(first: FirstAnswer, fingerprint: [u8; 32]) -> Result<Accepted, Error> {
    if first.fingerprint == fingerprint {
        Ok(Accepted { answer: first.answer, replayed: true })
    } else {
        Err(Error::IdempotencyKeyReused)
    }
}
