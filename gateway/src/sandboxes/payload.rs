//! Reading what sandboxes send: answers and events.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::invocation::MAX_PAYLOAD_BYTES;

/// A body; its length if that is over the limit, and `None` if the connection ended before it did. A body that is too
/// long is read to its end, so that its sender sees the answer.
pub(super) async fn whole(mut body: Incoming) -> Option<Result<Bytes, usize>> {
    let (mut all, mut length_bytes) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame.ok()?.into_data() {
            length_bytes += part.len();
            if length_bytes <= MAX_PAYLOAD_BYTES {
                all.extend_from_slice(&part);
            }
        }
    }
    Some(if length_bytes <= MAX_PAYLOAD_BYTES { Ok(all.freeze()) } else { Err(length_bytes) })
}
