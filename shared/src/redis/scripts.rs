//! Scripts: each one atomic step, in a Lua file of its own whose head says what goes in and comes out, with one caller.

use std::fmt::Write;

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

/// A script and the hash by which Redis knows it.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    sha1: String,
}

/// What a script is given: keys of one partition, and numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<i64>,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        // What Redis calls a script by; nobody relies on it for anything else.
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sha1 = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { text, sha1 }
    }

    /// Runs the script once for each call, all in one pipeline; the answers are in the same order. A script that Redis
    /// does not know is brought along and run again: a call that was not understood did nothing.
    pub(super) async fn run(&self, connection: &mut MultiplexedConnection, calls: &[Call]) -> RedisResult<Vec<Value>> {
        let by_hash = calls.iter().map(|call| command("EVALSHA", &self.sha1, call));
        let mut answers = pipe(connection, by_hash).await?;
        let is_unknown = |answer: &RedisResult<Value>| {
            answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
        };
        let unknown: Vec<usize> = (0..answers.len()).filter(|n| is_unknown(&answers[*n])).collect();
        if !unknown.is_empty() {
            // The first brings the script; the others stand behind it and find it.
            let again = unknown.iter().enumerate().map(|(nth, n)| match nth {
                0 => command("EVAL", self.text, &calls[*n]),
                _ => command("EVALSHA", &self.sha1, &calls[*n]),
            });
            for (n, answer) in unknown.iter().zip(pipe(connection, again).await?) {
                answers[*n] = answer;
            }
        }
        answers.into_iter().collect()
    }
}

fn command(name: &str, script: &str, call: &Call) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.arguments);
    command
}

/// Sends commands in one piece; each has an answer of its own.
pub(super) async fn pipe(
    connection: &mut MultiplexedConnection,
    commands: impl IntoIterator<Item = Cmd>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.ignore_errors().query_async(connection).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `KEYS[…]` and `ARGV[…]`, as they are written in a text.
    fn inputs(text: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for table in ["KEYS[", "ARGV["] {
            for (at, _) in text.match_indices(table) {
                let end = text[at..].find(']').expect("a bracket that is closed");
                found.insert(text[at..=at + end].to_owned());
            }
        }
        found
    }

    /// What a script's head promises to read and its body does not, and the other way round.
    fn disagreements(script: &str) -> Vec<String> {
        let head: Vec<&str> = script.lines().take_while(|line| line.starts_with("--")).collect();
        let body = script.lines().skip(head.len()).map(|line| line.split("--").next().unwrap_or_default());
        let (head, body) = (inputs(&head.join("\n")), inputs(&body.collect::<Vec<&str>>().join("\n")));
        head.symmetric_difference(&body).cloned().collect()
    }

    #[test]
    fn heads_and_bodies_agree() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            let script = std::fs::read_to_string(&file).unwrap();
            assert_eq!(disagreements(&script), [""; 0], "{}", file.display());
            assert!(script.starts_with("-- ") && script.contains("\n-- ARGV[1]  ") && script.contains("\n-- Returns "));
            assert!(script.is_ascii() || !script.contains("tostring"), "{}", file.display());
        }
    }

    #[test]
    fn a_head_that_says_less_or_more_is_reported() {
        let script = "-- KEYS[1]  a key\n-- ARGV[1]  now\n-- ARGV[2]  spare\n\nreturn KEYS[1] .. ARGV[1] .. ARGV[3] -- KEYS[9]\n";
        assert_eq!(disagreements(script), ["ARGV[2]", "ARGV[3]"]);
    }

    #[test]
    fn a_script_is_known_by_its_sha1() {
        assert_eq!(Script::new("return 1").sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
