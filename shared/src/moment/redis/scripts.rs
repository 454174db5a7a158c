//! Scripts: each one atomic step, in a Lua file of its own whose head says what goes in and comes out, with one caller.

use std::collections::HashSet;
use std::fmt::Write;

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

use crate::clock::At;

/// A script and the hash by which Redis knows it.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    sha1: String,
}

/// What a script is given: keys of one partition, and numbers or texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<String>,
    /// Further arguments, which are as Redis gave them, and so perhaps no text.
    pub(crate) bytes: Vec<Vec<u8>>,
}

/// One step of a pipeline.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A command.
    Plain(Cmd),
    /// A call of a script.
    Script(&'a Script, &'a Call),
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        // What Redis calls a script by; nobody relies on it for anything else.
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sha1 = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { text, sha1 }
    }

    /// Runs the script once for each call, all in one pipeline; the answers are in the same order.
    pub(crate) async fn run(&self, connection: &mut MultiplexedConnection, calls: &[Call]) -> RedisResult<Vec<Value>> {
        let steps: Vec<Step<'_>> = calls.iter().map(|call| Step::Script(self, call)).collect();
        perform(connection, &steps).await?.into_iter().collect()
    }
}

/// Performs steps in one pipeline; each has an answer of its own. A script that Redis does not know is brought along and
/// called again: a call that was not understood did nothing.
pub(crate) async fn perform(
    connection: &mut MultiplexedConnection,
    steps: &[Step<'_>],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let by_hash = steps.iter().map(|step| match step {
        Step::Plain(command) => command.clone(),
        Step::Script(script, call) => command("EVALSHA", &script.sha1, call),
    });
    let mut answers = pipe(connection, by_hash).await?;
    let is_unknown = |answer: &RedisResult<Value>| {
        answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    };
    let (mut unknown, mut again, mut brought) = (Vec::new(), Vec::new(), HashSet::new());
    for (n, step) in steps.iter().enumerate().filter(|(n, _)| is_unknown(&answers[*n])) {
        if let Step::Script(script, call) = step {
            // The first brings the script; the others stand behind it and find it.
            let is_first = brought.insert(&script.sha1);
            again.push(match is_first {
                true => command("EVAL", script.text, call),
                false => command("EVALSHA", &script.sha1, call),
            });
            unknown.push(n);
        }
    }
    if !unknown.is_empty() {
        for (n, answer) in unknown.into_iter().zip(pipe(connection, again).await?) {
            answers[n] = answer;
        }
    }
    Ok(answers)
}

fn command(name: &str, script: &str, call: &Call) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.arguments).arg(&call.bytes);
    command
}

/// An instant as scripts are given it; 0 asks for the clock of Redis.
pub(crate) fn now_ms(at: At) -> i64 {
    match at {
        At::Server => 0,
        At::Fixed(at_ms) => at_ms,
    }
}

/// Sends commands in one piece; each has an answer of its own.
pub(crate) async fn pipe(
    connection: &mut MultiplexedConnection,
    commands: impl IntoIterator<Item = Cmd>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    if pipeline.is_empty() {
        // It would be an error, and of the connection at that.
        return Ok(Vec::new());
    }
    pipeline.ignore_errors().query_async(connection).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/moment/redis");
        let inside = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = inside(&folder).filter(|path| path.is_dir()).flat_map(|domain| inside(&domain).collect::<Vec<_>>());
        let scripts: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "lua")).collect();
        assert!(scripts.len() >= 11, "{scripts:?}");
        for file in scripts {
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
