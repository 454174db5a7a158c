//! Steps of a pipeline: commands and Lua scripts, each on keys of one partition. Knows how to send them, not what they
//! mean: each script has one typed caller.

use std::collections::HashSet;

use aws_lc_rs::digest;
use redis::aio::MultiplexedConnection;
use redis::{
    Arg, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, ToRedisArgs, Value,
    from_redis_value,
};

use super::keys::{Key, Partition};
use crate::clock::At;
use crate::ids::hex;

/// Definitions that scripts share, with blank lines between them.
const PRELUDE: &str = include_str!("prelude.lua");

/// A script and the hash by which Redis knows it.
#[derive(Debug)]
pub(crate) struct Script {
    text: String,
    sha1: String,
}

impl Script {
    pub(crate) fn new(text: &str) -> Self {
        let text = with_prelude(text);
        Self { sha1: sha1(&text), text }
    }
}

/// The script behind those definitions of the prelude that it uses. Redis makes them anew at each call, so that spare ones
/// cost time.
fn with_prelude(text: &str) -> String {
    let definitions = PRELUDE.split("\n\n").filter_map(|block| Some((block, defined(block)?)));
    let definitions: Vec<(&str, &str)> = definitions.collect();
    // A definition may use those before it.
    definitions.into_iter().rev().fold(text.to_owned(), |text, (block, name)| match text.contains(name) {
        true => format!("{}\n\n{text}", block.trim_end()),
        false => text,
    })
}

/// The name that a block of the prelude defines.
fn defined(block: &str) -> Option<&str> {
    let line = block.lines().find_map(|line| line.strip_prefix("local "))?;
    line.trim_start_matches("function ").split(['(', ' ']).next()
}

/// SHA-1 in hexadecimal digits: how Redis names scripts. Nothing relies on its strength.
fn sha1(text: &str) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// One command or script call. Its keys are of one partition, by which it is routed to an instance.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    partition: Partition,
    /// As it is sent; a script by its hash.
    command: Cmd,
    script: Option<&'static Script>,
    tolerates: fn(&RedisError) -> bool,
}

impl Step {
    /// A command on one key, which is its first argument.
    pub(crate) fn command(name: &'static str, key: Key) -> Self {
        let mut command = redis::cmd(name);
        command.arg(key.name());
        Self { partition: key.partition(), command, script: None, tolerates: |_| false }
    }

    /// A call of a script. All keys must be of the partition of the first: a cluster refuses any other call.
    pub(crate) fn script(script: &'static Script, keys: Vec<Key>) -> Self {
        let partition = keys.first().expect("every script has a key").partition();
        debug_assert!(keys.iter().all(|key| key.partition() == partition), "{keys:?}");
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.sha1).arg(keys.len());
        for key in &keys {
            command.arg(key.name());
        }
        Self { partition, command, script: Some(script), tolerates: |_| false }
    }

    /// Adds an argument, or several from a list.
    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    /// Makes some errors an answer to this step. Any other error counts against the instance.
    pub(crate) fn tolerating(self, tolerates: fn(&RedisError) -> bool) -> Self {
        Self { tolerates, ..self }
    }

    /// Whether an error is an answer to this step.
    pub(crate) fn is_tolerated(&self, error: &RedisError) -> bool {
        (self.tolerates)(error)
    }

    #[cfg(test)]
    pub(crate) fn script_arguments(&self) -> Vec<Vec<u8>> {
        let words: Vec<Vec<u8>> = words(&self.command).map(<[u8]>::to_vec).collect();
        let keys: usize = std::str::from_utf8(&words[2]).unwrap().parse().unwrap();
        words[3 + keys..].to_vec()
    }

    /// Where it must be performed.
    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }

    /// The same with the script's text.
    fn with_text(&self, script: &Script) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&script.text);
        for word in words(&self.command).skip(2) {
            command.arg(word);
        }
        command
    }
}

/// The name of a command and its arguments.
fn words(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => unreachable!("only commands that scan have a cursor"),
    })
}

/// The answer to one step: `None` if its instance gave none, an error if it is one that the step tolerates.
pub(crate) type Answer = Option<RedisResult<Value>>;

/// Performs steps in one pipeline. The answers are in the same order; an error among them is one that its step tolerates.
/// Scripts that Redis does not know are sent with their text and called again, which is safe: an unknown call did nothing.
pub(crate) async fn perform(
    connection: &mut MultiplexedConnection,
    steps: &[&Step],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let answers = perform_known(connection, steps).await?;
    let checked = answers.into_iter().zip(steps).map(|(answer, step)| match answer {
        Err(error) if !step.is_tolerated(&error) => Err(error),
        answer => Ok(answer),
    });
    checked.collect()
}

/// The same in a cluster: an error among the answers may also say where the step is to be performed. `is_asking`: the slots
/// of the steps are on their way to this server.
pub(crate) async fn perform_in_cluster(
    connection: &mut MultiplexedConnection,
    steps: &[&Step],
    is_asking: bool,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let answers = match is_asking {
        false => perform_known(connection, steps).await?,
        true => {
            let commands = steps.iter().flat_map(|step| {
                // With its text: whether the server knows the script would take another question.
                let command = step.script.map_or_else(|| step.command.clone(), |script| step.with_text(script));
                [redis::cmd("ASKING"), command]
            });
            pipe(connection, commands).await?.into_iter().skip(1).step_by(2).collect()
        }
    };
    let checked = answers.into_iter().zip(steps).map(|(answer, step)| match answer {
        Err(error) if !step.is_tolerated(&error) && !is_redirection(&error) => Err(error),
        answer => Ok(answer),
    });
    checked.collect()
}

async fn perform_known(
    connection: &mut MultiplexedConnection,
    steps: &[&Step],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut answers = pipe(connection, steps.iter().map(|step| step.command.clone())).await?;
    let (mut unknown, mut again, mut sent) = (Vec::new(), Vec::new(), HashSet::new());
    for (n, step) in steps.iter().enumerate().filter(|(n, _)| is_unknown_script(&answers[*n])) {
        if let Some(script) = step.script {
            // The first call brings the text; later calls of the same script in this pipeline find it.
            let is_first = sent.insert(&script.sha1);
            again.push(if is_first { step.with_text(script) } else { step.command.clone() });
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

/// How many listeners each channel has at a server.
pub(crate) async fn count_listeners(connection: &mut MultiplexedConnection, channels: &[Key]) -> RedisResult<Vec<u64>> {
    let mut command = redis::cmd("PUBSUB");
    command.arg("NUMSUB");
    channels.iter().for_each(|channel| {
        command.arg(channel.name());
    });
    let counts: Vec<(String, u64)> = command.query_async(connection).await?;
    Ok(counts.into_iter().map(|(_, count)| count).collect())
}

/// Whether a server says that a step is to be performed elsewhere, or later.
pub(crate) fn is_redirection(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, Moved, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain))
}

fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// Reads an answer. `None` if there is none, or if it is not what the step returns, which is a bug and logged.
pub(crate) fn read<T: FromRedisValue>(answer: Answer) -> Option<T> {
    let value = answer?.ok()?;
    from_redis_value(value)
        .inspect_err(|error| tracing::error!(%error, "an answer of Redis has an unexpected shape"))
        .ok()
}

/// The time as scripts take it; 0 makes them use Redis' clock.
pub(crate) fn now_ms(at: At) -> i64 {
    match at {
        At::Server => 0,
        At::Fixed(at_ms) => at_ms,
    }
}

/// Sends commands in one pipeline; each has its own answer.
pub(crate) async fn pipe(
    connection: &mut MultiplexedConnection,
    commands: impl IntoIterator<Item = Cmd>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    if pipeline.is_empty() {
        // The client reports an empty pipeline as an error of the connection.
        return Ok(Vec::new());
    }
    pipeline.ignore_errors().query_async(connection).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// `KEYS[…]` and `ARGV[…]` as they appear in a text.
    fn inputs(text: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for table in ["KEYS[", "ARGV["] {
            for (at, _) in text.match_indices(table) {
                let end = text[at..].find(']').expect("a closing bracket");
                found.insert(text[at..=at + end].to_owned());
            }
        }
        found
    }

    /// The inputs that only the head or only the body of a script mentions.
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
            let has_input = script.contains("\n-- KEYS[1]  ") || script.contains("\n-- ARGV[1]  ");
            assert!(script.starts_with("-- ") && has_input && script.contains("\n-- Returns "), "{}", file.display());
            assert!(script.is_ascii() || !script.contains("tostring"), "{}", file.display());
        }
    }

    #[test]
    fn a_head_that_says_less_or_more_is_reported() {
        let script = "-- KEYS[1]  a key\n-- ARGV[1]  now\n-- ARGV[2]  spare\n\nreturn KEYS[1] .. ARGV[1] .. ARGV[3] -- KEYS[9]\n";
        assert_eq!(disagreements(script), ["ARGV[2]", "ARGV[3]"]);
    }

    #[test]
    fn a_script_gets_the_definitions_that_it_uses_and_those_that_they_use() {
        let names = |script: &str| -> Vec<String> {
            let text = with_prelude(script);
            text.split("\n\n").filter_map(defined).map(str::to_owned).collect()
        };
        assert_eq!(names("return 1"), [""; 0]);
        assert_eq!(names("return whole(1)"), ["whole"]);
        assert_eq!(names("count_or_clear('ZCARD', KEYS[1])"), ["foreign", "count", "count_or_clear"]);
        assert_eq!(names("append(KEYS[1], ARGV[1], 0)"), ["foreign", "whole", "append"]);
    }

    #[test]
    fn a_script_is_known_by_the_sha1_of_prelude_and_text() {
        let script = Script::new("return whole(1)");
        assert!(script.text.ends_with("end\n\nreturn whole(1)"), "{}", script.text);
        assert_eq!(script.sha1, sha1(&script.text));
        assert_eq!(sha1("return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
