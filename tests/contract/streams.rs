//! The suite of `shared::sockets::streams::Streams`: every listener gets the frames, in order.

use std::sync::Arc;
use std::time::Duration;

use shared::ids::ConnectionId;
use shared::protocol::Frame;
use shared::sockets::push::Outcome;
use shared::sockets::streams::{Listening, MAX_WAITING, Streams};

tests_on! {
    [
        a_stream_hears_what_is_published_to_it_in_order
        a_stream_hears_nothing_of_others
        no_one_listens_to_a_stream_that_is_not_open
        a_dropped_stream_listens_no_more
        a_stream_can_be_listened_to_again
        a_stream_that_takes_nothing_stops_listening_and_delays_no_other
        many_streams_are_published_to_at_once
    ]
    memory => crate::stores::memory,
    redis => crate::stores::redis_channels,
    balanced => crate::stores::balanced_channels,
    cluster => crate::stores::cluster_channels,
}

type Store = Arc<dyn Streams>;

/// Longer than any frame takes.
const SOON: Duration = Duration::from_secs(10);

async fn listens(store: &Store, stream: &ConnectionId) -> Box<dyn Listening> {
    store.listen(stream).await.expect("the moment is there")
}

async fn publishes(store: &Store, stream: &ConnectionId, frame: &str) -> Outcome {
    store.publish(&[(stream.clone(), Frame::from(frame))]).await[0]
}

async fn hears(listening: &mut Box<dyn Listening>) -> Option<String> {
    let frame = tokio::time::timeout(SOON, listening.next()).await.expect("nothing was heard");
    frame.map(|frame| frame.to_string())
}

/// Whether a stream is soon without a listener.
async fn is_soon_gone(store: &Store, stream: &ConnectionId) -> bool {
    let gone = async {
        while publishes(store, stream, "probe").await != Outcome::Gone {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.is_ok()
}

async fn a_stream_hears_what_is_published_to_it_in_order(store: Store) {
    let stream = ConnectionId::of_stream();
    let mut listening = listens(&store, &stream).await;
    for n in 0..100 {
        assert_eq!(publishes(&store, &stream, &format!("{n} ü\"\u{0}")).await, Outcome::Offered);
    }
    for n in 0..100 {
        assert_eq!(hears(&mut listening).await, Some(format!("{n} ü\"\u{0}")));
    }
    let large = "x".repeat(32 * 1_024);
    publishes(&store, &stream, &large).await;
    assert_eq!(hears(&mut listening).await, Some(large));
}

async fn a_stream_hears_nothing_of_others(store: Store) {
    let (one, other) = (ConnectionId::of_stream(), ConnectionId::of_stream());
    let (mut of_one, mut of_other) = (listens(&store, &one).await, listens(&store, &other).await);
    publishes(&store, &one, "for one").await;
    publishes(&store, &other, "for the other").await;
    assert_eq!(hears(&mut of_one).await.as_deref(), Some("for one"));
    assert_eq!(hears(&mut of_other).await.as_deref(), Some("for the other"));
}

async fn no_one_listens_to_a_stream_that_is_not_open(store: Store) {
    let (open, closed) = (ConnectionId::of_stream(), ConnectionId::of_stream());
    let _listening = listens(&store, &open).await;
    let frame = Frame::from("frame");
    let frames = [(closed.clone(), frame.clone()), (open, frame.clone()), (closed, frame)];
    assert_eq!(store.publish(&frames).await, [Outcome::Gone, Outcome::Offered, Outcome::Gone]);
    assert!(store.publish(&[]).await.is_empty());
}

async fn a_dropped_stream_listens_no_more(store: Store) {
    let (stream, other) = (ConnectionId::of_stream(), ConnectionId::of_stream());
    let (listening, mut of_other) = (listens(&store, &stream).await, listens(&store, &other).await);
    drop(listening);
    assert!(is_soon_gone(&store, &stream).await);
    publishes(&store, &other, "still here").await;
    assert_eq!(hears(&mut of_other).await.as_deref(), Some("still here"));
}

async fn a_stream_can_be_listened_to_again(store: Store) {
    let stream = ConnectionId::of_stream();
    drop(listens(&store, &stream).await);
    assert!(is_soon_gone(&store, &stream).await);
    let mut listening = listens(&store, &stream).await;
    publishes(&store, &stream, "again").await;
    assert_eq!(hears(&mut listening).await.as_deref(), Some("again"));
}

async fn a_stream_that_takes_nothing_stops_listening_and_delays_no_other(store: Store) {
    let (slow, quick) = (ConnectionId::of_stream(), ConnectionId::of_stream());
    let (mut of_slow, mut of_quick) = (listens(&store, &slow).await, listens(&store, &quick).await);
    for n in 0..=MAX_WAITING {
        publishes(&store, &slow, &n.to_string()).await;
    }
    publishes(&store, &quick, "quick").await;
    assert_eq!(hears(&mut of_quick).await.as_deref(), Some("quick"));
    for n in 0..MAX_WAITING {
        assert_eq!(hears(&mut of_slow).await, Some(n.to_string()));
    }
    assert_eq!(hears(&mut of_slow).await, None);
}

async fn many_streams_are_published_to_at_once(store: Store) {
    let mut streams = Vec::new();
    for _ in 0..200 {
        let stream = ConnectionId::of_stream();
        let listening = listens(&store, &stream).await;
        streams.push((stream, listening));
    }
    let frame = |(stream, _): &(ConnectionId, _)| (stream.clone(), Frame::from(stream.as_str()));
    let frames: Vec<(ConnectionId, Frame)> = streams.iter().map(frame).collect();
    assert!(store.publish(&frames).await.iter().all(|outcome| *outcome == Outcome::Offered));
    for (stream, listening) in &mut streams {
        assert_eq!(hears(listening).await.as_deref(), Some(stream.as_str()));
    }
}
