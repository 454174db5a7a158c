//! Reads the bodies of requests: each of limited size and time, and all of them of limited size together.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::refusals::Refusal;
use crate::response::{self, GatewayResponse};

/// How much of a body is read even if it is refused: a client that is still sending may miss the answer.
const MAX_READ_BYTES: usize = 11 * 1024 * 1024;
/// All refused bodies together are read no faster than this much at a time, with a pause in between: reading them as fast
/// as they arrive would take the processor from requests that are not refused.
const REFUSED_PART_BYTES: usize = 256 * 1024;
const REFUSED_PAUSE: Duration = Duration::from_millis(8);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is longer than the limit, or its announced length is.
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
    /// The connection ended before the body did, or the chunks are malformed.
    Incomplete,
    /// Other bodies take up all the room, and none ended in time.
    NoRoom,
}

impl BodyError {
    /// The response of an API. It closes the connection, since the rest of the body may still be arriving.
    pub(crate) fn into_response(self) -> GatewayResponse {
        let mut response = match self {
            Self::TooLarge => response::message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::TimedOut => response::message(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::Incomplete => response::message(StatusCode::BAD_REQUEST, "Bad Request"),
            Self::NoRoom => response::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        };
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }

    /// What it counts as; `None` if it is the client's connection that failed.
    pub(crate) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::TooLarge => Some(Refusal::BodyTooLarge),
            Self::TimedOut => Some(Refusal::BodyTimedOut),
            Self::NoRoom => Some(Refusal::NoRoomForBody),
            Self::Incomplete => None,
        }
    }
}

/// The room for the bodies that are under way. The start of each has room of its own, so that a few large bodies leave
/// room for many small ones.
pub(crate) struct Bodies {
    /// How much of a body is its start: by default 512 KiB, which most bodies do not reach.
    start_bytes: usize,
    /// One permit for each byte of the starts of all bodies.
    starts: Arc<Semaphore>,
    /// One permit for each further byte.
    rests: Arc<Semaphore>,
    /// Held during the pauses of refused bodies, so that only one of them is between two parts.
    refused_turn: Mutex<()>,
    timeout: Duration,
    wait: Duration,
}

/// The room that a body takes, until this is dropped. The default takes none.
#[derive(Default)]
pub(crate) struct Room {
    start: Option<OwnedSemaphorePermit>,
    rest: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for the requests to an API.
    pub(crate) fn of_requests(limits: &Limits) -> Self {
        let half_bytes = limits.body_bytes / 2;
        Self::new(limits, half_bytes / 64, half_bytes, half_bytes)
    }

    /// Room for pushes, none of which is large.
    pub(crate) fn of_pushes(limits: &Limits) -> Self {
        Self::new(limits, usize::MAX, limits.body_bytes / 4, 0)
    }

    fn new(limits: &Limits, start_bytes: usize, starts_bytes: usize, rests_bytes: usize) -> Self {
        Self {
            start_bytes,
            starts: Arc::new(Semaphore::new(starts_bytes)),
            rests: Arc::new(Semaphore::new(rests_bytes)),
            refused_turn: Mutex::default(),
            timeout: limits.body_timeout,
            wait: limits.body_wait,
        }
    }

    /// The whole body, if it has at most `limit_bytes`, arrives in time and there is room for it.
    ///
    /// A body that is somewhat too long is still read to its end, without being kept.
    pub(crate) async fn read<B>(&self, body: B, limit_bytes: usize) -> Result<(Bytes, Room), BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.is_end_stream() {
            return Ok((Bytes::new(), Room::default()));
        }
        let announced_bytes = body.size_hint().lower();
        if announced_bytes > MAX_READ_BYTES as u64 {
            return Err(BodyError::TooLarge);
        }
        let refused = (announced_bytes > limit_bytes as u64).then_some(BodyError::TooLarge);
        let mut reading = Reading { bodies: self, limit_bytes, kept: BytesMut::new(), room: Room::default(), refused };
        let in_time = timeout(self.timeout, reading.read_to_end(body)).await.is_ok();
        match reading.refused {
            Some(error) => Err(error),
            None if in_time => Ok((reading.kept.freeze(), reading.room)),
            None => Err(BodyError::TimedOut),
        }
    }

    /// Takes more room for what is made of a body, if that is larger than the body.
    pub(crate) async fn extend(&self, room: &mut Room, length_bytes: usize) -> Result<(), BodyError> {
        self.take(&self.starts, &mut room.start, length_bytes.min(self.start_bytes)).await?;
        self.take(&self.rests, &mut room.rest, length_bytes.saturating_sub(self.start_bytes)).await
    }

    /// Takes permits until this many are held.
    async fn take(
        &self,
        from: &Arc<Semaphore>,
        held: &mut Option<OwnedSemaphorePermit>,
        wanted: usize,
    ) -> Result<(), BodyError> {
        let missing = wanted.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::TooLarge)?;
        // The semaphore is never closed, so the error is always the timeout.
        let Ok(Ok(taken)) = timeout(self.wait, Arc::clone(from).acquire_many_owned(missing)).await else {
            return Err(BodyError::NoRoom);
        };
        match held {
            Some(held) => held.merge(taken),
            None => *held = Some(taken),
        }
        Ok(())
    }
}

/// A body that is arriving.
struct Reading<'a> {
    bodies: &'a Bodies,
    limit_bytes: usize,
    kept: BytesMut,
    room: Room,
    /// Set once it is known that the body will not be used.
    refused: Option<BodyError>,
}

impl Reading<'_> {
    async fn read_to_end<B>(&mut self, mut body: B)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut read_bytes, mut part_bytes) = (0, 0);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                self.refuse(BodyError::Incomplete);
                return;
            };
            // Trailers are ignored.
            let Ok(data) = frame.into_data() else { continue };
            read_bytes += data.len();
            if let Err(error) = self.keep(&data).await {
                self.refuse(error);
            }
            if read_bytes > MAX_READ_BYTES {
                return;
            }
            part_bytes += data.len();
            if self.refused.is_some() && part_bytes >= REFUSED_PART_BYTES {
                let _turn = self.bodies.refused_turn.lock().await;
                sleep(REFUSED_PAUSE).await;
                part_bytes = 0;
            }
        }
    }

    async fn keep(&mut self, data: &[u8]) -> Result<(), BodyError> {
        if self.refused.is_some() {
            return Ok(());
        }
        let length_bytes = self.kept.len() + data.len();
        if length_bytes > self.limit_bytes {
            return Err(BodyError::TooLarge);
        }
        self.bodies.extend(&mut self.room, length_bytes).await?;
        // Copied, because a small part would keep the connection's whole buffer in memory.
        self.kept.extend_from_slice(data);
        Ok(())
    }

    fn refuse(&mut self, error: BodyError) {
        self.refused.get_or_insert(error);
        (self.kept, self.room) = (BytesMut::new(), Room::default());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use tokio::time::Instant;

    use super::*;

    const TOTAL_BYTES: usize = 256 * 1024;
    const START_BYTES: usize = 2 * 1024;
    /// The largest body for which there is room.
    const LARGEST_BYTES: usize = START_BYTES + TOTAL_BYTES / 2;

    fn bodies(timeout: Duration, wait: Duration) -> Bodies {
        Bodies::of_requests(&Limits {
            body_timeout: timeout,
            body_wait: wait,
            body_bytes: TOTAL_BYTES,
            ..Limits::default()
        })
    }

    fn patient() -> Bodies {
        bodies(Duration::from_secs(20), Duration::from_secs(20))
    }

    /// A body in parts of this length, without an announced length.
    fn parts(count: usize, length_bytes: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(stream::iter((0..count).map(move |_| Ok(Frame::data(vec![b'x'; length_bytes].into())))))
    }

    /// A body that never ends after its first part.
    fn stalled(length_bytes: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let first = stream::iter([Ok(Frame::data(vec![b'x'; length_bytes].into()))]);
        StreamBody::new(first.chain(stream::pending()))
    }

    fn free(bodies: &Bodies) -> usize {
        bodies.starts.available_permits() + bodies.rests.available_permits()
    }

    #[tokio::test]
    async fn a_body_takes_room_for_as_long_as_it_is_kept() {
        let bodies = patient();
        let (bytes, mut room) = bodies.read(parts(100, 1_000), 100_000).await.unwrap();
        assert_eq!((bytes.len(), free(&bodies)), (100_000, TOTAL_BYTES - 100_000));
        bodies.extend(&mut room, 120_000).await.unwrap();
        assert_eq!(free(&bodies), TOTAL_BYTES - 120_000);
        bodies.extend(&mut room, 10).await.unwrap();
        assert_eq!(free(&bodies), TOTAL_BYTES - 120_000, "room is not given back before the end");
        drop(room);
        assert_eq!(free(&bodies), TOTAL_BYTES);
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_takes_no_room() {
        let bodies = patient();
        assert_eq!(bodies.read(parts(101, 1_000), 100_000).await.err(), Some(BodyError::TooLarge));
        let announced = Full::new(Bytes::from(vec![b'x'; 100_001]));
        assert_eq!(bodies.read(announced, 100_000).await.err(), Some(BodyError::TooLarge));
        let endless = StreamBody::new(stream::repeat_with(|| {
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 4 * 1024])))
        }));
        assert_eq!(bodies.read(endless, 100_000).await.err(), Some(BodyError::TooLarge));
        assert_eq!(free(&bodies), TOTAL_BYTES);
    }

    #[tokio::test]
    async fn a_body_that_stalls_times_out_and_gives_its_room_back() {
        let bodies = bodies(Duration::from_millis(20), Duration::from_secs(20));
        assert_eq!(bodies.read(stalled(50_000), 100_000).await.err(), Some(BodyError::TimedOut));
        assert_eq!(bodies.read(stalled(100_001), 100_000).await.err(), Some(BodyError::TooLarge));
        assert_eq!(free(&bodies), TOTAL_BYTES);
    }

    #[tokio::test]
    async fn a_body_without_room_is_refused_and_small_ones_have_room_of_their_own() {
        let bodies = bodies(Duration::from_secs(20), Duration::from_millis(20));
        let (_, room) = bodies.read(parts(2, LARGEST_BYTES / 2), TOTAL_BYTES).await.unwrap();
        let before = free(&bodies);
        assert_eq!(bodies.read(parts(1, START_BYTES + 1), TOTAL_BYTES).await.err(), Some(BodyError::NoRoom));
        assert_eq!(free(&bodies), before);
        assert!(bodies.read(parts(1, START_BYTES), TOTAL_BYTES).await.is_ok());
        drop(room);
        assert!(bodies.read(parts(1, LARGEST_BYTES), TOTAL_BYTES).await.is_ok());
    }

    #[tokio::test]
    async fn refused_bodies_share_one_pace() {
        let bodies = patient();
        let began = Instant::now();
        let refused = || bodies.read(parts(8, REFUSED_PART_BYTES), 0);
        let (one, other) = tokio::join!(refused(), refused());
        assert_eq!((one.err(), other.err()), (Some(BodyError::TooLarge), Some(BodyError::TooLarge)));
        assert!(began.elapsed() >= 16 * REFUSED_PAUSE);
    }

    #[tokio::test]
    async fn a_body_waits_for_room() {
        let bodies = Arc::new(patient());
        let (_, room) = bodies.read(parts(1, LARGEST_BYTES), TOTAL_BYTES).await.unwrap();
        let waiting = tokio::spawn({
            let bodies = Arc::clone(&bodies);
            async move { bodies.read(parts(1, 100_000), TOTAL_BYTES).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(room);
        assert!(waiting.await.unwrap());
    }
}
