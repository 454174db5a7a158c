//! The log of sandboxes: what their processes print, line by line, and what is added to it.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tracing::Level;

/// A longer line is divided.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Where the output of sandboxes goes. Clones share it.
#[derive(Clone)]
pub struct Log {
    write: Arc<WriteLine>,
    /// Whether START, END and REPORT lines are written too.
    pub(super) has_reports: bool,
}

type WriteLine = dyn Fn(&str, &str) + Send + Sync;

impl Log {
    /// A log of what functions print, without the lines that Lambda adds. `write` gets the sandbox, as `function[process
    /// id]`, and a line.
    pub fn plain(write: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self { write: Arc::new(write), has_reports: false }
    }

    /// A log with those lines.
    pub fn with_reports(write: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self { has_reports: true, ..Self::plain(write) }
    }

    /// Standard error, with those lines unless the gateway itself logs less than information. Each line
    /// begins with the sandbox that it is from.
    pub fn stderr() -> Self {
        let write = |sandbox: &str, line: &str| {
            // Nothing can be done about a standard error that is closed.
            let _ = io::stderr().lock().write_all(format!("{sandbox} {line}\n").as_bytes());
        };
        Self { has_reports: tracing::enabled!(Level::INFO), ..Self::plain(write) }
    }
}

/// The output of one sandbox, which a task of its own passes on. It ends with the sandbox.
pub(super) struct Output {
    commands: mpsc::UnboundedSender<Command>,
    has_reports: bool,
}

enum Command {
    /// Writes a line between those of the process.
    Write(String),
    /// Passes on everything that the process has printed so far.
    Flush(oneshot::Sender<()>),
}

impl Output {
    /// Passes on what is read from the pipe, as that of this sandbox.
    pub(super) fn forward(pipe: OwnedFd, sandbox: String, log: &Log) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let lines = Lines { begun: Vec::new(), sandbox, write: Arc::clone(&log.write) };
        tokio::spawn(forward(pipe, received, lines));
        Ok(Self { commands, has_reports: log.has_reports })
    }

    /// Whether reports are written.
    pub(super) fn has_reports(&self) -> bool {
        self.has_reports
    }

    /// Writes a line that Lambda adds, if such lines are written.
    pub(super) fn report(&self, line: impl FnOnce() -> String) {
        if self.has_reports {
            self.send(Command::Write(line()));
        }
    }

    /// Returns when everything that the process has printed is written. It must be frozen or have ended.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Command::Flush(done));
        let _ = flushed.await;
    }

    fn send(&self, command: Command) {
        // The task ends only after this is dropped.
        let _ = self.commands.send(command);
    }
}

async fn forward(pipe: pipe::Receiver, mut commands: mpsc::UnboundedReceiver<Command>, mut lines: Lines) {
    let mut part = vec![0; READ_BYTES];
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Write(line)) => lines.add_whole(&line),
                Some(Command::Flush(done)) => {
                    lines.add_rest(&pipe, &mut part);
                    let _ = done.send(());
                }
                None => return lines.add_rest(&pipe, &mut part),
            },
            _ = pipe.readable(), if is_open => match pipe.try_read(&mut part) {
                Ok(0) => is_open = false,
                Ok(length) => lines.add(&part[..length]),
                Err(error) => is_open = error.kind() == io::ErrorKind::WouldBlock,
            },
        }
    }
}

/// Divides what a process prints into lines.
struct Lines {
    /// The begin of a line that has no end yet.
    begun: Vec<u8>,
    sandbox: String,
    write: Arc<WriteLine>,
}

impl Lines {
    fn add(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= MAX_LINE_BYTES {
                self.end_line();
            }
        }
    }

    fn add_whole(&mut self, line: &str) {
        self.end_line();
        (self.write)(&self.sandbox, line);
    }

    /// Adds what is left in the pipe of a process that prints nothing more.
    fn add_rest(&mut self, pipe: &pipe::Receiver, part: &mut [u8]) {
        // Not by `try_read`, which does not see what was printed since the runtime last looked at the pipe. A pipe holds
        // much less than what is read here at most.
        for _ in 0..MAX_LINE_BYTES {
            match rustix::io::read(pipe, &mut *part) {
                Ok(length) if length > 0 => self.add(&part[..length]),
                _ => break,
            }
        }
        self.end_line();
    }

    /// Writes what there is of a line.
    fn end_line(&mut self) {
        if !self.begun.is_empty() {
            let line = String::from_utf8_lossy(&self.begun);
            (self.write)(&self.sandbox, line.trim_end_matches(['\n', '\r']));
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A log, and what was written to it.
    fn recorded() -> (Log, Arc<Mutex<Vec<String>>>) {
        let written = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&written);
        (Log::with_reports(move |sandbox, line| lines.lock().unwrap().push(format!("{sandbox}|{line}"))), written)
    }

    #[tokio::test]
    async fn output_is_written_by_lines_and_in_order_with_what_is_added() {
        let ((log, written), (reader, mut writer)) = (recorded(), io::pipe().unwrap());
        let output = Output::forward(reader.into(), "send[7]".into(), &log).unwrap();
        output.report(|| "START".into());
        writer.write_all("one\r\ntw".as_bytes()).unwrap();
        output.flush().await;
        writer.write_all("o\n\nthree \u{fc}".as_bytes()).unwrap();
        writer.write_all(&[0xff]).unwrap();
        output.flush().await;
        output.report(|| "END".into());
        output.flush().await;
        let expected = ["START", "one", "tw", "o", "", "three \u{fc}\u{fffd}", "END"];
        assert_eq!(*written.lock().unwrap(), expected.map(|line| format!("send[7]|{line}")));
    }

    #[tokio::test]
    async fn output_is_written_before_it_is_asked_for_and_a_long_line_is_divided() {
        let ((log, written), (reader, mut writer)) = (recorded(), io::pipe().unwrap());
        let _output = Output::forward(reader.into(), "send[7]".into(), &log).unwrap();
        let length = MAX_LINE_BYTES + 10;
        let printed =
            tokio::task::spawn_blocking(move || writer.write_all(&[vec![b'x'; length], b"\n".into()].concat()));
        printed.await.unwrap().unwrap();
        let is_written = async {
            while written.lock().unwrap().iter().map(|line| line.len() - "send[7]|".len()).sum::<usize>() < length {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), is_written).await.expect("it was not written");
        assert_eq!(written.lock().unwrap().len(), 2);
    }
}
