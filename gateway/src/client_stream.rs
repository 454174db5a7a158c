//! The TCP stream of a client that speaks HTTP: fails when the client stalls, so that its connection is closed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::addresses::OpenConnection;

/// A client's stream with its timeouts. hyper's own timeout cannot tell a slow head from an idle connection.
pub(crate) struct ClientStream {
    stream: TcpStream,
    connection: OpenConnection,
    requests: Requests,
    /// What `requests` was when something was last read.
    seen: usize,
    head_timeout: Duration,
    write_timeout: Duration,
    /// When the first byte of a head arrived that is still incomplete.
    head_began: Option<Instant>,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

/// Counts the heads that have been read and the answers to them. Clones share the count.
///
/// It is odd while a request is being answered: what arrives then is not part of a head.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<AtomicUsize>);

impl Requests {
    /// To be called when a head has been read.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// To be called when the answer is known.
    pub(crate) fn end(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientStream {
    pub(crate) fn new(
        stream: TcpStream,
        connection: OpenConnection,
        requests: Requests,
        head_timeout: Duration,
        write_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            connection,
            requests,
            seen: 0,
            head_timeout,
            write_timeout,
            head_began: None,
            head_deadline: None,
            write_deadline: None,
        }
    }

    /// The stream without timeouts, and its place among the connections of its address.
    pub(crate) fn into_parts(self) -> (TcpStream, OpenConnection) {
        (self.stream, self.connection)
    }

    /// Applies the write timeout to the outcome of a write.
    fn written(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.write_deadline = None;
            return outcome;
        }
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let requests = this.requests.0.load(Ordering::Relaxed);
        if requests != this.seen {
            (this.seen, this.head_began, this.head_deadline) = (requests, None, None);
        }
        if requests % 2 == 1 {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let before = buffer.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.head_began.get_or_insert_with(Instant::now);
            }
            return Poll::Ready(outcome);
        }
        let Some(head_began) = this.head_began else { return Poll::Pending };
        let deadline = this.head_deadline.get_or_insert_with(|| Box::pin(sleep_until(head_began + this.head_timeout)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
