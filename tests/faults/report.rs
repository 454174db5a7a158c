//! The report of each scenario, and the table at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::conversation::Findings;

use crate::checker::Found;
use crate::device::Device;
use crate::scenarios::Scenario;
use crate::sender::{Attempt, Sent};

/// The maximum time between the answer to a send and its frame for the delivery to count as live.
pub(crate) const LIVE_WITHIN: Duration = Duration::from_millis(250);
/// The same on a machine so slow that calm deliveries take longer.
pub(crate) const LATE_WITHIN: Duration = Duration::from_secs(2);
/// For how long deliveries have to be live until they count as live again.
const MIN_LIVE: Duration = Duration::from_secs(1);
/// The duration of a call from which it counts as slow.
pub(crate) const SLOW: Duration = Duration::from_millis(250);

/// When deliveries were live again.
pub(crate) enum Recovery {
    /// No service sent until the end, or no send was accepted after the fault.
    Unknown,
    /// This long after the end of the fault, and from then on.
    After(Duration),
    Never,
}

/// The result of a scenario.
pub(crate) struct Report {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Whether this was another design, which must lose data: otherwise the harness could not detect loss.
    pub(crate) is_baseline: bool,
    pub(crate) found: Found,
    pub(crate) accept_ms: [f64; 2],
    /// The same for messages.
    pub(crate) message_ms: [f64; 2],
    pub(crate) recovery: Recovery,
    pub(crate) retries: usize,
    /// The share of calls that were refused or not answered.
    pub(crate) refused: f64,
    /// The share of calls that took longer than [`SLOW`].
    pub(crate) slow: f64,
    /// Additional figures of the scenario.
    pub(crate) notes: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        let Found { lost, shown_twice, order_violations, chats, violations, .. } = &self.found;
        if self.is_baseline {
            return *lost > 0;
        }
        (*lost, *shown_twice, *order_violations, violations.len()) == (0, 0, 0, 0) && chats.is_clean()
    }

    /// Prints the figures that all scenarios have, then the notes and the violations of this one.
    pub(crate) fn print(&self) {
        let Found { accepted, durable, lost, frames, duplicate_frames, shown_twice, order_violations, .. } =
            &self.found;
        let Found { chats, message_frames, duplicate_message_frames, violations, .. } = &self.found;
        let [p50, p99] = self.accept_ms;
        println!("{} {} ({:.0} s)", self.id, self.title, self.took.as_secs_f64());
        println!(
            "    accepted {accepted} (durable {durable}) · lost {lost} · frames {frames} · duplicate frames \
             {duplicate_frames} · shown twice {shown_twice} · order violations {order_violations} · accept p50/p99 \
             {p50:.0}/{p99:.0} ms · slower than {} ms {:.1} % · recovery {} · client retries {} · refused {:.1} %",
            SLOW.as_millis(),
            self.slow * 100.0,
            self.recovery_text(),
            self.retries,
            self.refused * 100.0
        );
        if !self.is_baseline {
            let Findings { accepted, lost, twice, disordered, gaps, miscounted, .. } = chats;
            let [p50, p99] = self.message_ms;
            println!(
                "    messages {accepted} · lost {lost} · shown twice {twice} · order violations {disordered} · gaps {gaps} · \
                 wrong unread counts {miscounted} · frames {message_frames} · duplicate frames \
                 {duplicate_message_frames} · accept p50/p99 {p50:.0}/{p99:.0} ms"
            );
        }
        for note in &self.notes {
            println!("    {note}");
        }
        if self.is_baseline {
            println!("    {}", self.verdict());
        }
        for violation in violations {
            println!("    VIOLATION {violation}");
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.is_baseline, self.passed()) {
            (false, true) => "passed",
            (false, false) => "FAILED",
            (true, true) => "lost data, as it must",
            (true, false) => "FAILED: LOST NOTHING",
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

/// Prints one line for each scenario, and the totals without the other designs. `others` have no report, but say why.
pub(crate) fn print_table(reports: &[Report], others: &[(&Scenario, String)]) {
    let heads = [
        "accepted",
        "messages",
        "lost",
        "frames",
        "duplicates",
        "shown twice",
        "disordered",
        "unread",
        "accept ms",
        "recovery",
        "retries",
        "refused",
    ];
    println!();
    print_row("id", "scenario", heads.map(str::to_owned), "result");
    println!("{}", "-".repeat(210));
    for report in reports {
        let (found, [p50, p99]) = (&report.found, report.accept_ms);
        let counts = [
            found.accepted,
            found.chats.accepted,
            found.all_lost(),
            found.all_frames(),
            found.all_duplicate_frames(),
            found.all_shown_twice(),
            found.all_disordered(),
            found.chats.miscounted,
        ];
        let [accepted, messages, lost, frames, duplicates, twice, disordered, unread] = counts.map(|n| n.to_string());
        let accept = if report.is_baseline { "-".into() } else { format!("{p50:.0}/{p99:.0}") };
        let refused = format!("{:.1} %", report.refused * 100.0);
        let figures = [
            accepted,
            messages,
            lost,
            frames,
            duplicates,
            twice,
            disordered,
            unread,
            accept,
            report.recovery_text(),
            report.retries.to_string(),
            refused,
        ];
        print_row(report.id, report.title, figures, report.verdict());
    }
    for (scenario, why) in others {
        println!("{:<5} {:<52} {why}", scenario.id, scenario.title);
    }
    let ours: Vec<&Report> = reports.iter().filter(|report| !report.is_baseline).collect();
    let sum = |count: fn(&Found) -> usize| ours.iter().map(|report| count(&report.found)).sum::<usize>();
    println!(
        "\naccepted counts notifications, messages those of chats; lost, shown twice and disordered (violations of the order\n\
         and gaps in it) count both; unread counts differ from a count over the record; duplicates are frames that a device\n\
         got again; accept ms is p50/p99 until a send was accepted; recovery is the time after the fault until 99 % of\n\
         frames were live again; retries and refused are calls of the services"
    );
    println!(
        "\ntotal: of {} accepted notifications {} lost, {} shown twice, {} out of order; of {} accepted messages {} lost,\n\
         {} shown twice, {} out of order, {} gaps, {} wrong unread counts; of {} frames {:.1} % duplicates",
        sum(|found| found.accepted),
        sum(|found| found.lost),
        sum(|found| found.shown_twice),
        sum(|found| found.order_violations),
        sum(|found| found.chats.accepted),
        sum(|found| found.chats.lost),
        sum(|found| found.chats.twice),
        sum(|found| found.chats.disordered),
        sum(|found| found.chats.gaps),
        sum(|found| found.chats.miscounted),
        sum(Found::all_frames),
        sum(Found::all_duplicate_frames) as f64 / sum(Found::all_frames).max(1) as f64 * 100.0
    );
}

fn print_row(id: &str, title: &str, figures: [String; 12], verdict: &str) {
    print!("{id:<5} {title:<52}");
    for figure in figures {
        print!(" {figure:>11}");
    }
    println!("  {verdict}");
}

/// The p50 and p99 duration in milliseconds of the calls that were answered with 2xx.
pub(crate) fn accept_ms<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> [f64; 2] {
    let accepted = attempts.filter(|call| (200..300).contains(&call.status));
    let mut took: Vec<f64> = accepted.map(|call| call.took.as_secs_f64() * 1_000.0).collect();
    took.sort_by(f64::total_cmp);
    [0.5, 0.99].map(|share| percentile(&took, share))
}

/// The nearest-rank percentile of the sorted values; 0 if there are none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}

/// The time from `fault_ended` until 99 % of the deliveries were live, for at least [`MIN_LIVE`] and until now.
pub(crate) fn recovery(
    accepted: &[Sent],
    devices: &[Arc<Device>],
    fault_ended: Instant,
    live_within: Duration,
) -> Recovery {
    // The frames of what was accepted later may still be on their way.
    let until = Instant::now() - live_within;
    // When each notification was accepted, and whether every device of its user got it live.
    let mut arrivals: Vec<(Instant, bool)> = Vec::new();
    for sent in accepted.iter().filter(|sent| (fault_ended..until).contains(&sent.accepted_at)) {
        for (user, id) in sent.promised() {
            let live = devices.iter().filter(|device| device.user == user).all(|device| {
                let seen = device.seen.lock().unwrap();
                seen.first_frame_at
                    .get(&id)
                    .is_some_and(|at| at.saturating_duration_since(sent.accepted_at) < live_within)
            });
            arrivals.push((sent.accepted_at, live));
        }
    }
    arrivals.sort_by_key(|(at, _)| *at);
    let Some((last, _)) = arrivals.last().copied() else { return Recovery::Unknown };
    let (mut late, mut from) = (0, None);
    // From the end backwards: the longest tail in which 99 % were live.
    for (count, (at, live)) in (1..).zip(arrivals.iter().rev()) {
        late += usize::from(!live);
        if late * 100 <= count && last - *at >= MIN_LIVE {
            from = Some(*at);
        }
    }
    from.map_or(Recovery::Never, |from| Recovery::After(from.saturating_duration_since(fault_ended)))
}
