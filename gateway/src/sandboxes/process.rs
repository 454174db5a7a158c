//! The process of a sandbox: signals, memory, and how it ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process_group};

/// A handle to the process of a sandbox, and to those that it started. Valid while the sandbox exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(Pid);

impl Process {
    /// The process with this id, which leads a process group.
    pub(super) fn new(id: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(id).ok()?).map(Self)
    }

    /// The process id.
    pub fn id(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Kills it at once, also if it is frozen.
    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Suspends it, as Lambda does between invocations.
    pub fn freeze(self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it.
    pub fn thaw(self) {
        self.signal(Signal::CONT);
    }

    /// The most memory that it has used so far, in MB; `None` if it has ended, and where there is no `/proc`.
    pub(super) fn peak_memory_mb(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let peak_kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))?;
        Some(peak_kb.trim().parse::<u64>().ok()?.div_ceil(1024))
    }

    fn signal(self, signal: Signal) {
        // Fails only if it has ended meanwhile.
        let _ = kill_process_group(self.0, signal);
    }
}

/// How a process ended, in Lambda's words.
pub(super) fn exit_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".into(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, signal) => {
            format!("Runtime exited with error: signal: {}", signal.map_or("unknown".into(), signal_text))
        }
    }
}

fn signal_text(number: i32) -> String {
    match Signal::from_named_raw(number) {
        Some(Signal::ABORT) => "aborted".into(),
        Some(Signal::BUS) => "bus error".into(),
        Some(Signal::FPE) => "floating point exception".into(),
        Some(Signal::ILL) => "illegal instruction".into(),
        Some(Signal::INT) => "interrupt".into(),
        Some(Signal::KILL) => "killed".into(),
        Some(Signal::SEGV) => "segmentation fault".into(),
        Some(Signal::TERM) => "terminated".into(),
        _ => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_in_the_words_of_lambda() {
        let text = |raw| exit_text(ExitStatus::from_raw(raw));
        assert_eq!(text(0), "Runtime exited without providing a reason");
        assert_eq!(text(3 << 8), "Runtime exited with error: exit status 3");
        assert_eq!(text(9), "Runtime exited with error: signal: killed");
        assert_eq!(text(35), "Runtime exited with error: signal: signal 35");
    }

    #[test]
    fn the_memory_of_a_process_is_read_and_that_of_a_missing_one_is_not() {
        let own = Process::new(std::process::id()).unwrap().peak_memory_mb();
        assert!(own.is_none_or(|mb| (1..100_000).contains(&mb)), "{own:?}");
        assert_eq!(own.is_some(), cfg!(target_os = "linux"));
        assert_eq!(Process::new(u32::MAX), None);
        assert_eq!(Process::new(i32::MAX as u32).unwrap().peak_memory_mb(), None);
    }
}
