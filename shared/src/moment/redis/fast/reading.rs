//! Reading logs. Others take over from an instance that is away, so a log may be at several, and they answer at different
//! times: one before an entry is appended there, and another after something that was accepted later. So all are asked where
//! a log ends before any of them is read, and what came since is left for the next reading.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use futures_util::future::join_all;
use redis::Value;

use crate::clock::At;
use crate::fast::log::{BusyLog, LogEntry, LogId, Place, ReadLogs, Share, WRITER_LEASE_MS, WriterId};
use crate::moment::redis::keys::Keys;
use crate::moment::redis::link::Patience;
use crate::moment::redis::routing::Router;
use crate::moment::redis::steps::{self, Answer, Script, Step, read};

static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("log_end.lua")));
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("log_read.lua")));

/// Reads logs at all instances, and says how many values were foreign.
pub(crate) async fn read_logs(
    router: &Router,
    keys: &Keys,
    logs: &[LogId],
    share: Share,
    writer: WriterId,
    at: At,
) -> (ReadLogs, u64) {
    let (ends, strange) = match router.instances().len() {
        1 => (Ends::unbounded(logs), 0),
        _ => {
            let steps: Vec<Step> = logs.iter().map(|log| Step::script(&END, keys.log(*log)[..1].to_vec())).collect();
            Ends::read(logs, router.ask_everywhere(&steps, Patience::Long).await)
        }
    };
    let read = join_all(router.instances().map(|instance| {
        let read = |(log, end): (&LogId, &End)| read_log(keys, *log, share, end.writer_at(instance, writer), at);
        let steps: Vec<Step> = ends.by_log.iter().map(read).collect();
        async move { router.ask_at(instance, &steps, Patience::Long).await }
    }));
    let (read, foreign) = ends.together(read.await);
    (read, strange.saturating_add(foreign))
}

fn read_log(keys: &Keys, log: LogId, share: Share, writer: WriterId, at: At) -> Step {
    let [entries, _] = keys.log(log);
    let step = Step::script(&READ, vec![entries, keys.log_writer(log)]).arg(steps::now_ms(at));
    step.arg(share.entries).arg(share.bytes).arg(writer.0).arg(WRITER_LEASE_MS)
}

fn place(text: &[u8]) -> Option<Place> {
    let (ms, n) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, n.parse().ok()?))
}

/// Where logs end; those without entries are left out.
struct Ends {
    by_log: BTreeMap<LogId, End>,
    is_silent: bool,
}

/// Where a log ended before it was read at any instance.
struct End {
    /// The place of the last entry, as far as clocks of instances agree, or [`UNBOUNDED`].
    last: Place,
    /// The first instance that has entries. The lease is taken there alone, so that no two writers wait for each other.
    instance: usize,
}

/// After every place.
const UNBOUNDED: Place = (u64::MAX, u64::MAX);

impl Ends {
    /// At a single instance, whatever is read comes before what is not.
    fn unbounded(logs: &[LogId]) -> Self {
        let by_log = logs.iter().map(|log| (*log, End { last: UNBOUNDED, instance: 0 })).collect();
        Self { by_log, is_silent: false }
    }

    /// From the answers of each instance, and how many values were foreign.
    fn read(logs: &[LogId], answers: Vec<Vec<Answer>>) -> (Self, u64) {
        let (mut ends, mut foreign) = (Self { by_log: BTreeMap::new(), is_silent: false }, 0);
        for (instance, answers) in answers.into_iter().enumerate() {
            for (log, answer) in logs.iter().zip(answers) {
                let Some((strange, last)) = read::<(u64, Vec<u8>)>(answer) else {
                    ends.is_silent = true;
                    continue;
                };
                foreign = u64::saturating_add(foreign, strange);
                if let Some(last) = place(&last) {
                    let end = ends.by_log.entry(*log).or_insert(End { last, instance });
                    end.last = end.last.max(last);
                }
            }
        }
        (ends, foreign)
    }

    /// What all instances have, from the answers of each, and how many values were foreign.
    fn together(self, answers: Vec<Vec<Answer>>) -> (ReadLogs, u64) {
        let (mut together, mut foreign) = (ReadLogs { is_silent: self.is_silent, ..ReadLogs::default() }, 0);
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        for (log, end) in self.by_log {
            let mut parts = Vec::new();
            for (instance, answers) in answers.iter_mut().enumerate() {
                let Some((part, strange)) = Part::read(log, instance, answers.next().flatten()) else {
                    together.is_silent = true;
                    continue;
                };
                foreign = u64::saturating_add(foreign, strange);
                parts.push(part);
            }
            end.take(log, parts, &mut together);
        }
        (together, foreign)
    }
}

impl End {
    fn writer_at(&self, instance: usize, writer: WriterId) -> WriterId {
        if instance == self.instance { writer } else { WriterId::WITHOUT_LEASE }
    }

    /// Takes of a log what comes before all that may be left anywhere. `parts`: of the instances that answered.
    fn take(self, log: LogId, parts: Vec<Part>, read: &mut ReadLogs) {
        if let Some((_, newest)) = parts.iter().find_map(|part| part.busy) {
            let first = parts.iter().filter_map(Part::first).min().unwrap_or(newest);
            let last = if self.last == UNBOUNDED { newest } else { self.last };
            read.busy.push(BusyLog { log, first, last });
            return;
        }
        // What follows the share of one instance may come before what others have.
        let shares = parts.iter().filter(|part| part.has_more);
        let shares = shares.map(|part| part.entries.last().and_then(|last| place(&last.place)).unwrap_or_default());
        let last = shares.chain([self.last]).min().unwrap_or(self.last);
        let has_more = parts.iter().any(|part| part.has_more);
        let mut entries: Vec<LogEntry> = parts.into_iter().flat_map(|part| part.entries).collect();
        // Stable: within an instance they are in order already, whatever its clock did.
        entries.sort_by_key(|entry| place(&entry.place));
        let left = entries.split_off(entries.partition_point(|entry| place(&entry.place) <= Some(last)));
        if last < self.last {
            read.more.push(log);
        } else if has_more || !left.is_empty() {
            read.grown.push(log);
        }
        read.entries.extend(entries);
    }
}

/// What an instance has of a log.
struct Part {
    entries: Vec<LogEntry>,
    has_more: bool,
    /// Its oldest and its newest place, if another writer has it there.
    busy: Option<(Place, Place)>,
}

impl Part {
    /// And how many values were foreign; `None` without an answer.
    fn read(log: LogId, instance: usize, answer: Answer) -> Option<(Self, u64)> {
        let mut values = read::<Vec<Value>>(answer)?.into_iter();
        let mut number = || values.next().and_then(|number| read::<u64>(Some(Ok(number)))).unwrap_or(0);
        let (foreign, is_busy) = (number(), number() == 1);
        let has_more = !is_busy && number() == 1;
        let texts: Vec<Vec<u8>> = values.filter_map(|value| read(Some(Ok(value)))).collect();
        if is_busy {
            let [first, last] = texts.as_slice() else { return None };
            let part = Self { entries: Vec::new(), has_more, busy: Some((place(first)?, place(last)?)) };
            return Some((part, foreign));
        }
        let (entries, _) = texts.as_chunks();
        let entry = |[place, id, text]: &[Vec<u8>; 3]| LogEntry {
            log,
            id: id.clone(),
            text: text.clone(),
            instance,
            place: place.clone(),
        };
        Some((Self { entries: entries.iter().map(entry).collect(), has_more, busy: None }, foreign))
    }

    /// The place of its oldest entry.
    fn first(&self) -> Option<Place> {
        self.busy.map(|(first, _)| first).or_else(|| place(&self.entries.first()?.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn answer(values: Vec<Value>) -> Answer {
        Some(Ok(Value::Array(values)))
    }

    /// That a log ends here.
    fn end(place: &str) -> Answer {
        answer(vec![Value::Int(0), text(place)])
    }

    /// What an instance has of a log: the places of entries, which are their ids and texts too.
    fn part(has_more: bool, places: &[&str]) -> Answer {
        let head = [0, 0, i64::from(has_more)].map(Value::Int);
        answer(
            head.into_iter().chain(places.iter().flat_map(|place| [text(place), text(place), text(place)])).collect(),
        )
    }

    fn busy(first: &str, last: &str) -> Answer {
        answer(vec![Value::Int(0), Value::Int(1), text(first), text(last)])
    }

    fn log(number: u16) -> LogId {
        LogId::from_number(number).unwrap()
    }

    /// A log as it ends at each instance, and then is read there.
    fn read_one<const N: usize>(ends: [Answer; N], parts: [Answer; N]) -> ReadLogs {
        let each = |answers: [Answer; N]| answers.into_iter().map(|answer| vec![answer]).collect();
        let (ends, _) = Ends::read(&[log(7)], each(ends));
        ends.together(each(parts)).0
    }

    fn places(read: &ReadLogs) -> Vec<&str> {
        read.entries.iter().map(|entry| std::str::from_utf8(&entry.place).unwrap()).collect()
    }

    #[test]
    fn entries_of_several_instances_are_in_the_order_of_their_times() {
        let read = read_one(
            [end("90-0"), end("100-0"), end("")],
            [part(false, &["9-0", "90-0"]), part(false, &["10-0", "10-1", "100-0"]), part(false, &[])],
        );
        assert_eq!(places(&read), ["9-0", "10-0", "10-1", "90-0", "100-0"]);
        assert_eq!(read.entries.iter().map(|entry| entry.instance).collect::<Vec<_>>(), [0, 1, 1, 0, 1]);
        assert_eq!(ReadLogs { entries: vec![], ..read }, ReadLogs::default());
    }

    #[test]
    fn what_came_to_one_instance_after_another_was_read_is_left() {
        // The first is read before 90-0 is appended there, and the second after 100-0 was.
        let read = read_one([end(""), end("50-0")], [part(false, &[]), part(false, &["50-0", "100-0"])]);
        assert_eq!((places(&read), &read.more[..], &read.grown[..]), (vec!["50-0"], &[][..], &[log(7)][..]));
        // The next reading has both.
        let read = read_one([end("90-0"), end("100-0")], [part(false, &["90-0"]), part(false, &["100-0"])]);
        assert_eq!((places(&read), &read.grown[..]), (vec!["90-0", "100-0"], &[][..]));
        // What was accepted before the end is read, although it was not there yet.
        let read = read_one([end(""), end("100-0")], [part(false, &["90-0"]), part(false, &["100-0"])]);
        assert_eq!((places(&read), &read.grown[..]), (vec!["90-0", "100-0"], &[][..]));
    }

    #[test]
    fn nothing_is_taken_of_a_log_that_another_writer_has_at_one_instance() {
        let read = read_one([end("90-0"), end("100-0")], [busy("80-0", "90-0"), part(false, &["70-0", "100-0"])]);
        let waited_for = BusyLog { log: log(7), first: (70, 0), last: (100, 0) };
        assert_eq!(read, ReadLogs { busy: vec![waited_for], ..ReadLogs::default() });
        // Other logs are not held up by it.
        let (ends, _) = Ends::read(&[log(7), log(8)], vec![vec![end("90-0"), end("80-0")]]);
        let (read, _) = ends.together(vec![vec![busy("90-0", "90-0"), part(false, &["80-0"])]]);
        assert_eq!((places(&read), read.busy.len()), (vec!["80-0"], 1));
    }

    #[test]
    fn a_busy_log_is_past_what_it_had_when_that_is_gone_from_every_instance() {
        let read = |ends, parts| read_one(ends, parts).busy[0];
        let before = read([end("90-0"), end("100-0")], [busy("80-0", "90-0"), part(false, &["70-0", "100-0"])]);
        assert!(!before.is_past(&before));
        let ahead = read([end("110-0"), end("100-0")], [busy("110-0", "110-0"), part(false, &["100-0"])]);
        assert!(!ahead.is_past(&before));
        let past = read([end("110-0"), end("120-0")], [busy("110-0", "110-0"), part(false, &["120-0"])]);
        assert!(past.is_past(&before));
        // At a single instance, the newest entry is told along with the log.
        let single = |busy| Ends::unbounded(&[log(7)]).together(vec![vec![busy]]).0.busy[0];
        let before = single(busy("80-0", "90-0"));
        assert!(!single(busy("90-0", "95-0")).is_past(&before) && single(busy("90-1", "95-0")).is_past(&before));
    }

    #[test]
    fn what_follows_the_share_of_one_instance_comes_before_later_entries_of_others() {
        let read = read_one([end("200-0"), end("300-0")], [part(true, &["100-0"]), part(false, &["50-0", "300-0"])]);
        assert_eq!((places(&read), &read.more[..], &read.grown[..]), (vec!["50-0", "100-0"], &[log(7)][..], &[][..]));
        // Only what came since is left.
        let read = read_one([end("100-0"), end("50-0")], [part(true, &["100-0"]), part(false, &["50-0"])]);
        assert_eq!((places(&read), &read.more[..], &read.grown[..]), (vec!["50-0", "100-0"], &[][..], &[log(7)][..]));
    }

    #[test]
    fn a_clock_that_is_off_holds_up_nothing() {
        let ends = || [end("3600000-0"), end("50-0")];
        let read = read_one(ends(), [part(false, &["3600000-0"]), part(false, &["50-0"])]);
        assert_eq!((places(&read), &read.grown[..]), (vec!["50-0", "3600000-0"], &[][..]));
        let read = read_one(ends(), [part(true, &["3500000-0"]), part(true, &["40-0"])]);
        assert_eq!((places(&read), &read.more[..]), (vec!["40-0"], &[log(7)][..]));
    }

    #[test]
    fn an_instance_that_gives_no_answer_is_left_out() {
        for (ends, parts) in [
            ([None, end("50-0")], [part(false, &[]), part(false, &["50-0"])]),
            ([end("90-0"), end("50-0")], [None, part(false, &["50-0"])]),
        ] {
            let read = read_one(ends, parts);
            assert_eq!((places(&read), read.is_silent), (vec!["50-0"], true));
        }
        let read = read_one([None, None], [None, None]);
        assert_eq!(read, ReadLogs { is_silent: true, ..ReadLogs::default() });
    }

    #[test]
    fn the_lease_is_taken_at_the_first_instance_that_has_the_log() {
        let (ends, _) = Ends::read(
            &[log(7), log(8), log(9)],
            vec![vec![end("50-0"), end(""), end("")], vec![end("90-0"), end("90-0"), end("")]],
        );
        let writers =
            |instance| ends.by_log.values().map(|end| end.writer_at(instance, WriterId(5)).0).collect::<Vec<u64>>();
        assert_eq!((writers(0), writers(1)), (vec![5, 0], vec![0, 5]));
        assert_eq!(ends.by_log.into_keys().collect::<Vec<_>>(), [log(7), log(8)]);
    }

    #[test]
    fn of_a_single_instance_everything_is_taken() {
        let (read, foreign) = Ends::unbounded(&[log(7)]).together(vec![vec![part(true, &["90-0", "100-0"])]]);
        assert_eq!((places(&read), &read.more[..], foreign), (vec!["90-0", "100-0"], &[log(7)][..], 0));
        let (read, _) = Ends::unbounded(&[log(7)]).together(vec![vec![part(false, &["90-0"])]]);
        assert_eq!((places(&read), &read.more[..], &read.grown[..]), (vec!["90-0"], &[][..], &[][..]));
    }
}
