//! One open socket: a single task reads, writes and closes it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::client_stream::ClientStream;
use crate::connections::{Connection, Outbox};
use crate::in_flight::InFlight;
use crate::outgoing::Closing;
use crate::site::{Site, WebSocketApi};
use crate::websocket::{disconnected, receive};

/// The largest frame in either direction, and the largest message of a client, in however many frames.
const MAX_FRAME_BYTES: usize = 32 * 1024;
/// Small, since there may be thousands of sockets, and most frames of clients are shorter. A longer one uses more while it
/// arrives.
const READ_BUFFER_BYTES: usize = 512;
/// How much is collected before it is written, when many messages are queued.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// How much is kept for a client that does not read: the largest message, and answers to pings, of which further ones are
/// dropped but for the last. A message that finds no room ends the connection.
const MAX_UNSENT_BYTES: usize = 256 * 1024;
/// How long a client may take to receive the close frame, and again as long to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves a connection from its handshake until `$disconnect` has been called.
pub(crate) async fn serve(
    site: Arc<Site>,
    api: Arc<WebSocketApi>,
    connection: Arc<Connection>,
    outbox: Outbox,
    upgraded: Upgraded,
) {
    let Parts { io, read_buf, .. } =
        upgraded.downcast::<TokioIo<ClientStream>>().expect("the accept loop passes such streams to hyper");
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_UNSENT_BYTES)
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .max_message_size(Some(MAX_FRAME_BYTES));
    // An open socket counts as a connection of its address until it is closed.
    let (stream, _open) = io.into_inner().into_parts();
    let early = read_buf.to_vec();
    // Even an empty one keeps the 8 KiB that hyper read the handshake into.
    drop(read_buf);
    let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;

    let in_flight = Arc::new(InFlight::default());
    let mut open = OpenSocket { socket, outbox, in_flight, has_unflushed: false };
    let ending = loop {
        match open.next().await {
            SocketEvent::Received(text) => {
                connection.touch(site.clock.now_ms());
                receive(&site, &api, &connection, text, open.in_flight.begin());
            }
            SocketEvent::Ended(ending) => break ending,
        }
    };
    site.connections.remove(&connection.id);
    open.send_close(&ending).await;
    disconnected(&site, &api, &connection, &ending.closing);
    open.shut_down().await;
}

struct OpenSocket {
    socket: WebSocketStream<TcpStream>,
    outbox: Outbox,
    in_flight: Arc<InFlight>,
    has_unflushed: bool,
}

/// What the task of a socket reacts to.
enum SocketEvent {
    Received(Utf8Bytes),
    Ended(Ending),
}

struct Ending {
    closing: Closing,
    /// Whether the client still has to be sent a close frame.
    must_send_close: bool,
}

impl Ending {
    fn by_gateway(closing: Closing) -> Self {
        Self { closing, must_send_close: true }
    }

    fn by_client(code: u16, reason: Utf8Bytes) -> Self {
        Self { closing: Closing { code, reason }, must_send_close: false }
    }
}

impl OpenSocket {
    /// Sends queued messages until a message arrives or the connection ends.
    async fn next(&mut self) -> SocketEvent {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Writing never blocks reading or closing: a client that does not read can still send messages and be closed.
    /// Reading never blocks writing or closing either: while too many messages are in flight, nothing is read, so that
    /// the client's system has to keep what it sends. Its close frame is then noticed when one of them has ended.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<SocketEvent> {
        // After a failed write the socket is still read: the client's close frame may have arrived before.
        let mut is_broken = matches!(self.poll_send(context), Poll::Ready(Err(_)));
        if let Poll::Ready(closing) = self.outbox.poll_closing(context) {
            return Poll::Ready(SocketEvent::Ended(Ending::by_gateway(closing)));
        }
        std::task::ready!(self.in_flight.poll_room(context));
        loop {
            let received = match self.socket.poll_next_unpin(context) {
                Poll::Ready(received) => received,
                Poll::Pending if is_broken => return Poll::Ready(SocketEvent::Ended(connection_lost())),
                Poll::Pending => return Poll::Pending,
            };
            match received {
                Some(Ok(Message::Text(text))) => return Poll::Ready(SocketEvent::Received(text)),
                // Neither pings nor pongs count as activity. tungstenite answers pings, but tries to write only while it reads.
                Some(Ok(Message::Ping(_))) => {
                    self.has_unflushed = true;
                    is_broken |= matches!(self.poll_send(context), Poll::Ready(Err(_)));
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Binary(_))) => return Poll::Ready(SocketEvent::Ended(binary_refused())),
                Some(Ok(Message::Close(frame))) => {
                    return Poll::Ready(SocketEvent::Ended(closed_by_client(frame)));
                }
                Some(Err(error)) => return Poll::Ready(SocketEvent::Ended(ending_for(&error))),
                None => return Poll::Ready(SocketEvent::Ended(connection_lost())),
            }
        }
    }

    /// Moves messages from the queue to the socket as fast as the client reads them.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            std::task::ready!(self.socket.poll_ready_unpin(context))?;
            match self.outbox.poll_message(context) {
                Poll::Ready(text) => self.start_send(text)?,
                Poll::Pending => break,
            }
        }
        if self.has_unflushed {
            std::task::ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            self.has_unflushed = false;
        }
        Poll::Pending
    }

    fn start_send(&mut self, text: Utf8Bytes) -> Result<(), Error> {
        self.has_unflushed = true;
        for frame in frames(text) {
            self.socket.start_send_unpin(frame)?;
        }
        Ok(())
    }

    /// Sends the remaining messages and the close frame. If the client closed first, only flushes the reply to it.
    /// When it returns, messages for the client are refused.
    async fn send_close(&mut self, ending: &Ending) {
        if !ending.must_send_close {
            self.outbox.end();
        }
        let closing = async {
            if ending.must_send_close {
                while let Some(text) = self.outbox.take_or_end() {
                    for frame in frames(text) {
                        self.socket.feed(frame).await?;
                    }
                }
                let frame = CloseFrame { code: ending.closing.code.into(), reason: ending.closing.reason.clone() };
                self.socket.close(Some(frame)).await
            } else {
                self.socket.flush().await
            }
        };
        // Best effort: the client may be gone, and one that does not read is not waited for.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        self.outbox.end();
    }

    /// Closes the TCP connection so that the close frame arrives.
    ///
    /// If it were closed with unread bytes, the system would send a reset, which may overtake the frame.
    async fn shut_down(self) {
        let mut stream = self.socket.into_inner();
        let drained = async {
            stream.shutdown().await?;
            // On the heap: as part of the future it would take this much memory in every open socket's task.
            let mut rest = vec![0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, drained).await;
    }
}

/// A message as one frame, or as several of at most 32 KiB each.
fn frames(text: Utf8Bytes) -> impl Iterator<Item = Message> {
    let mut rest = Bytes::from(text);
    let mut opcode = Some(Data::Text);
    std::iter::from_fn(move || {
        let kind = opcode?;
        let part = rest.split_to(rest.len().min(MAX_FRAME_BYTES));
        let is_last = rest.is_empty();
        opcode = (!is_last).then_some(Data::Continue);
        Some(Message::Frame(Frame::message(part, OpCode::Data(kind), is_last)))
    })
}

fn closed_by_client(frame: Option<CloseFrame>) -> Ending {
    match frame {
        Some(frame) => Ending::by_client(frame.code.into(), frame.reason),
        None => Ending::by_client(1005, Utf8Bytes::from_static("Client-side close frame status not set")),
    }
}

fn binary_refused() -> Ending {
    Ending::by_gateway(Closing::new(1003, "Binary data is not accepted"))
}

/// The connection broke without a close frame.
fn connection_lost() -> Ending {
    Ending { closing: Closing::new(1006, ""), must_send_close: false }
}

fn ending_for(error: &Error) -> Ending {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Ending::by_gateway(Closing::new(1009, "Message too long"))
        }
        Error::Utf8(_) => Ending::by_gateway(Closing::new(1007, "Invalid frame payload data")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => connection_lost(),
        Error::Protocol(_) => Ending::by_gateway(Closing::new(1002, "Protocol error")),
        _ => connection_lost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths_and_ends(length_bytes: usize) -> Vec<(usize, bool)> {
        let text = Utf8Bytes::from("x".repeat(length_bytes));
        let shape = |message| match message {
            Message::Frame(frame) => (frame.payload().len(), frame.header().is_final),
            other => panic!("expected a frame, got {other}"),
        };
        frames(text).map(shape).collect()
    }

    #[test]
    fn a_long_message_is_split_into_frames_of_at_most_32_kib() {
        assert_eq!(lengths_and_ends(0), [(0, true)]);
        assert_eq!(lengths_and_ends(32 * 1024), [(32 * 1024, true)]);
        assert_eq!(lengths_and_ends(70_000), [(32 * 1024, false), (32 * 1024, false), (70_000 - 64 * 1024, true)]);
    }
}
