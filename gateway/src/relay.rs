//! Relays what a function streams to the client: reads it no faster than the client does, and to its end without it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::functions::{Chunks, FunctionError};

/// The body of an answer that is being relayed.
pub(crate) type RelayedBody = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Cut>>>;

/// Ends a body before its end, so that the client sees that the answer is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub(crate) struct Cut;

/// When a client gets no more of a stream, and what follows.
#[derive(Clone, Copy)]
pub(crate) struct Cutoff {
    /// When the route times out.
    pub(crate) deadline: Instant,
    /// How long the stream may be silent.
    pub(crate) idle_timeout: Duration,
    /// Whether the invocation ends then. Otherwise it runs on, as on AWS.
    pub(crate) cancels: bool,
}

/// What a client is sent: a chunk, or that the stream has ended. Without that the body is cut.
enum Part {
    Chunk(Bytes),
    End,
}

/// The sending end of a body. Dropping it, and all clones, cuts the body off.
#[derive(Clone)]
pub(crate) struct Client(mpsc::Sender<Part>);

/// A body, and the end through which it is sent. It holds one chunk that the client has not read yet.
pub(crate) fn body() -> (Client, RelayedBody) {
    let (sender, receiver) = mpsc::channel(1);
    let parts = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Part::Chunk(chunk)) => Some((Ok(Frame::data(chunk)), Some(receiver))),
            Some(Part::End) => None,
            None => {
                // hyper sends what it has buffered when the body is pending, but not when it has failed.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
        }
    });
    (Client(sender), StreamBody::new(parts.boxed()))
}

/// Reads a stream to its end, and passes it to the client until the client leaves or is cut off.
pub(crate) async fn relay(mut chunks: Chunks, client: Client, cutoff: Cutoff) -> Result<(), FunctionError> {
    let ended = timeout_at(cutoff.deadline, client.receive(&mut chunks, cutoff.idle_timeout)).await;
    drop(client);
    match ended {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) if cutoff.cancels => Ok(()),
        Ok(None) | Err(_) => {
            while let Some(chunk) = chunks.next().await {
                chunk?;
            }
            Ok(())
        }
    }
}

impl Client {
    /// Returns when the client has left.
    pub(crate) async fn left(&self) {
        self.0.closed().await;
    }

    /// Passes chunks on until the stream ends. `None` if the client leaves or the stream is silent for too long.
    async fn receive(&self, chunks: &mut Chunks, idle_timeout: Duration) -> Option<Result<(), FunctionError>> {
        loop {
            // Only what there is room for is read, so a client that does not read stops the function.
            let room = self.0.reserve().await.ok()?;
            let next = tokio::select! {
                next = timeout(idle_timeout, chunks.next()) => next.ok()?,
                () = self.left() => return None,
            };
            match next {
                Some(Ok(chunk)) => room.send(Part::Chunk(chunk)),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    room.send(Part::End);
                    return Some(Ok(()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// Awaits what must happen, and fails instead of waiting forever.
    async fn in_time<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), future).await.expect("did not happen within 20 s")
    }

    fn cutoff(idle_timeout: Duration, cancels: bool) -> Cutoff {
        Cutoff { deadline: Instant::now() + LONG, idle_timeout, cancels }
    }

    /// One chunk, then silence until the client has left, then the end.
    fn silent(client: &Client) -> Chunks {
        let client = client.0.downgrade();
        let end = stream::once(async move {
            while client.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
            Ok(Bytes::from_static(b"unseen"))
        });
        stream::iter([Ok(Bytes::from_static(b"seen"))]).chain(end).boxed()
    }

    #[tokio::test]
    async fn a_silent_stream_cuts_its_client_off_and_is_read_to_its_end() {
        let (client, body) = body();
        let chunks = silent(&client);
        let relaying = relay(chunks, client, cutoff(Duration::from_millis(20), false));
        let (relayed, seen) = in_time(async { tokio::join!(relaying, BodyExt::collect(body)) }).await;
        assert_eq!(relayed, Ok(()));
        assert!(matches!(seen, Err(Cut)));
    }

    #[tokio::test]
    async fn a_silent_stream_is_dropped_if_that_is_asked_for() {
        let (client, _body) = body();
        let silent = stream::once(pending()).boxed();
        assert_eq!(in_time(relay(silent, client, cutoff(Duration::from_millis(20), true))).await, Ok(()));
    }

    #[tokio::test]
    async fn an_error_is_returned_with_or_without_a_client() {
        let error = FunctionError { error_type: "Unavailable".into(), message: "the store is down".into() };
        for has_client in [true, false] {
            let (client, body) = body();
            let body = has_client.then_some(body);
            let fails = stream::iter([Err(error.clone())]).boxed();
            assert_eq!(relay(fails, client, cutoff(LONG, false)).await, Err(error.clone()));
            drop(body);
        }
    }
}
