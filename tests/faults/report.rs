//! The line that every row prints, and the table at the end.

use std::time::{Duration, Instant};

use crate::checker::Found;
use crate::device::Device;
use crate::sender::{Sent, Try};

/// A frame that comes later than this after its send was answered is not what users call live.
const LIVE: Duration = Duration::from_millis(250);

/// When frames were live again.
pub(crate) enum Recovery {
    /// Nobody sent after the fault.
    Unknown,
    /// So long after the end of the fault, and from then on.
    After(Duration),
    Never,
}

/// What a row came to.
pub(crate) struct Report {
    pub(crate) number: &'static str,
    pub(crate) what: &'static str,
    /// Whether it was another design's turn, which must lose: else the harness could not see loss.
    pub(crate) is_baseline: bool,
    pub(crate) found: Found,
    pub(crate) accept_ms: [f64; 2],
    pub(crate) recovery: Recovery,
    pub(crate) retries: usize,
    /// Of all calls, how many were refused or not answered.
    pub(crate) refused: f64,
    /// What the row has to say besides.
    pub(crate) remarks: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn holds(&self) -> bool {
        let Found { lost, shown_twice, order_violations, violations, .. } = &self.found;
        if self.is_baseline {
            return *lost > 0;
        }
        (*lost, *shown_twice, *order_violations, violations.len()) == (0, 0, 0, 0)
    }

    /// The standard line, and below it what the row says and what broke.
    pub(crate) fn print(&self) {
        let Found { accepted, durable, lost, frames, duplicate_frames, shown_twice, order_violations, violations } =
            &self.found;
        let [p50, p99] = self.accept_ms;
        println!("{} {} ({:.0} s)", self.number, self.what, self.took.as_secs_f64());
        println!(
            "    accepted {accepted} (durable {durable}) · lost {lost} · frames {frames} · duplicate frames \
             {duplicate_frames} · shown twice {shown_twice} · order violations {order_violations} · accept p50/p99 \
             {p50:.0}/{p99:.0} ms · recovery {} · client retries {} · refused {:.1} %",
            self.recovery_text(),
            self.retries,
            self.refused * 100.0
        );
        for remark in &self.remarks {
            println!("    {remark}");
        }
        if self.is_baseline {
            println!("    {}", self.verdict());
        }
        for violation in violations {
            println!("    VIOLATED {violation}");
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.is_baseline, self.holds()) {
            (false, true) => "held",
            (false, false) => "VIOLATED",
            (true, true) => "baseline: loses",
            (true, false) => "BASELINE LOST NOTHING",
        }
    }

    fn recovery_text(&self) -> String {
        match self.recovery {
            Recovery::Unknown => "-".into(),
            Recovery::After(recovery) => format!("{:.1} s", recovery.as_secs_f64()),
            Recovery::Never => "never".into(),
        }
    }
}

/// Prints all rows below each other, and their sum.
pub(crate) fn table(reports: &[Report]) {
    let heads = ["lost", "frames", "doubled", "shown twice", "order", "accept ms", "recovery", "retries", "refused"];
    println!();
    line("row", "fault", "accepted", heads.map(str::to_owned), "p50/p99; order: violations");
    println!("{}", "-".repeat(185));
    for report in reports {
        let Found { accepted, lost, frames, duplicate_frames, shown_twice, order_violations, .. } = &report.found;
        let [p50, p99] = report.accept_ms;
        let counts = [lost, frames, duplicate_frames, shown_twice, order_violations].map(ToString::to_string);
        let [lost, frames, doubled, twice, order] = counts;
        let accept = if report.is_baseline { "-".into() } else { format!("{p50:.0}/{p99:.0}") };
        let refused = format!("{:.1} %", report.refused * 100.0);
        let rest =
            [lost, frames, doubled, twice, order, accept, report.recovery_text(), report.retries.to_string(), refused];
        line(report.number, report.what, &accepted.to_string(), rest, report.verdict());
    }
    let own: Vec<&Report> = reports.iter().filter(|report| !report.is_baseline).collect();
    let sum = |count: fn(&Found) -> usize| own.iter().map(|report| count(&report.found)).sum::<usize>();
    let doubled = sum(|found| found.duplicate_frames) as f64 / sum(|found| found.frames).max(1) as f64;
    println!(
        "\nof {} accepted: lost {}, shown twice {}; of {} frames {:.1} % came again",
        sum(|found| found.accepted),
        sum(|found| found.lost),
        sum(|found| found.shown_twice),
        sum(|found| found.frames),
        doubled * 100.0
    );
}

fn line(number: &str, what: &str, accepted: &str, rest: [String; 9], verdict: &str) {
    print!("{number:<5} {what:<52} {accepted:>8}");
    for figure in rest {
        print!(" {figure:>11}");
    }
    println!("  {verdict}");
}

/// p50 and p99 in milliseconds of the calls that were answered with 2xx.
pub(crate) fn accept_ms<'a>(tries: impl Iterator<Item = &'a Try>) -> [f64; 2] {
    let accepted = tries.filter(|call| (200..300).contains(&call.status));
    let mut took: Vec<f64> = accepted.map(|call| call.took.as_secs_f64() * 1_000.0).collect();
    took.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| percentile(&took, share))
}

/// The value below which this share of the sorted values lies; 0 where there are none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}

/// How long after `healed` it took until 99 of 100 frames were live, from then on.
pub(crate) fn recovery(accepted: &[Sent], devices: &[Device], healed: Instant) -> Recovery {
    // When it was accepted, and whether it rang everywhere in time.
    let mut rang: Vec<(Instant, bool)> = Vec::new();
    for sent in accepted.iter().filter(|sent| sent.accepted_at > healed) {
        for (user, id) in sent.promised() {
            let live = devices.iter().filter(|device| device.user == user).all(|device| {
                let seen = device.seen.lock().unwrap();
                seen.rang.get(&id).is_some_and(|at| at.saturating_duration_since(sent.accepted_at) < LIVE)
            });
            rang.push((sent.accepted_at, live));
        }
    }
    rang.sort_by_key(|(at, _)| *at);
    let (mut late, mut from) = (0, None);
    // From the end backwards: the longest tail of which 99 of 100 were live.
    for (count, (at, live)) in (1..).zip(rang.iter().rev()) {
        late += usize::from(!live);
        if late * 100 <= count {
            from = Some(*at);
        }
    }
    match from {
        Some(from) => Recovery::After(from.saturating_duration_since(healed)),
        None if rang.is_empty() => Recovery::Unknown,
        None => Recovery::Never,
    }
}
