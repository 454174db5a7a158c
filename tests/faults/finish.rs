//! The end of a scenario: waits until no work is left, compares what was promised with what exists, and reports.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use harness::conversation::{Conversation, Unread};
use serde_json::Value;
use shared::clock::At;
use shared::delivery::queue::Queue;
use shared::fast::log::Logs;

use crate::checker::{self, FastPromise, Found, WAITING};
use crate::device::Device;
use crate::report::{self, Recovery, Report};
use crate::scenarios::Scenario;
use crate::sender::Sent;
use crate::servers::Servers;
use crate::talk::{Chat, Way};
use crate::testbed::{Duplicates, IDLE_TIMEOUT, Testbed, pause};

/// How long senders go on after the fault at least.
const SEND_AFTER_FAULT: Duration = Duration::from_secs(3);
/// How long they go on at most until deliveries are live again. A process asks Redis again up to ten seconds after a long outage,
/// and only if it is called.
const MAX_RECOVERY: Duration = Duration::from_secs(20);
/// How long work may wait for its next attempt. After that it is made due, because the backoff can reach five minutes.
const MAX_BACKOFF_WAIT: Duration = Duration::from_secs(9);
/// How many sends and messages more than were seen in logs may be there when Redis loses its memory: as many as are accepted
/// between two looks.
const MAX_UNSEEN: u64 = 20;
/// How many accepted sends are repeated to compare the answers.
const REPLAYED_KEYS: usize = 60;

/// How many messages were accepted fast.
struct FastMessages {
    accepted: usize,
    /// Those that are not in the record.
    lost: usize,
    /// Those that are only required to be there.
    unordered: usize,
}

impl Testbed {
    /// Waits until no work is left and every device shows everything, at most for `IDLE_TIMEOUT`.
    pub(crate) async fn wait_until_idle(&self) {
        let started = Instant::now();
        while started.elapsed() < IDLE_TIMEOUT && !self.is_idle().await {
            if started.elapsed() > MAX_BACKOFF_WAIT {
                self.make_due().await;
            }
            pause(300).await;
        }
    }

    /// Lets senders go on after the fault until deliveries are live again.
    async fn recovers(&self, fault_ended: Instant) -> Recovery {
        let began = Instant::now();
        tokio::time::sleep(SEND_AFTER_FAULT).await;
        loop {
            let accepted: Vec<Sent> = {
                let accepted = self.service.log.accepted.lock().unwrap();
                accepted.iter().filter(|sent| sent.accepted_at >= fault_ended).cloned().collect()
            };
            let recovery = report::recovery(&accepted, &self.devices, fault_ended, report::LIVE_WITHIN);
            if matches!(recovery, Recovery::After(_)) || began.elapsed() >= MAX_RECOVERY {
                return recovery;
            }
            pause(300).await;
        }
    }

    /// How many rows, messages and chunks wait in the database.
    pub(crate) async fn waiting(&self) -> i64 {
        self.count(WAITING).await
    }

    /// How many entries of the queue are due and not claimed.
    async fn queued(&self) -> u64 {
        self.queue.depth(At::Server).await.map_or(0, |depth| depth.waiting)
    }

    /// How many entries wait in logs.
    pub(crate) async fn logged(&self) -> u64 {
        self.queue.unwritten_total(At::Server).await.map_or(0, |unwritten| unwritten.entries)
    }

    /// Gives messages that were accepted fast the places that they have in the record, so that they are compared like others,
    /// unless their order is not promised.
    async fn place_fast_messages(&self, fast: Option<FastPromise>) -> FastMessages {
        let stored: Vec<(String, i64)> =
            sqlx::query_as("SELECT id::text, seq FROM messages").fetch_all(&self.database).await.unwrap();
        let stored: HashMap<String, i64> = stored.into_iter().collect();
        let mut said = self.talked.said.lock().unwrap();
        let fast_ids: HashSet<String> = said.iter().filter(|said| said.seq == 0).map(|said| said.id.clone()).collect();
        let is_ordered = fast == Some(FastPromise::InOrder);
        said.retain_mut(|said| {
            if said.seq == 0 {
                said.seq = stored.get(&said.id).copied().unwrap_or_default();
            }
            said.seq > 0 && (is_ordered || !fast_ids.contains(&said.id))
        });
        let lost = fast_ids.iter().filter(|id| !stored.contains_key(*id)).count();
        let unordered = if is_ordered { 0 } else { fast_ids.len() - lost };
        FastMessages { accepted: fast_ids.len(), lost, unordered }
    }

    async fn is_idle(&self) -> bool {
        if self.waiting().await > 0 || self.queued().await > 0 || self.logged().await > 0 {
            return false;
        }
        let heads: Vec<(String, i64)> =
            sqlx::query_as("SELECT user_id, head FROM inboxes").fetch_all(&self.database).await.unwrap();
        let ends: Vec<(String, i64)> =
            sqlx::query_as("SELECT id::text, last_seq FROM chats").fetch_all(&self.database).await.unwrap();
        let is_shown = |device: &Device, chat: &Chat| {
            let last = ends.iter().find(|(id, _)| *id == chat.id).map_or(0, |(_, last)| *last);
            !chat.members.contains(&device.user) || device.last_seq(&chat.id) == last
        };
        let is_up_to_date = |device: &Arc<Device>| {
            heads.iter().all(|(user, head)| device.user != *user || device.offset() == *head)
                && self.chats.iter().all(|chat| is_shown(device, chat))
        };
        self.devices.iter().all(is_up_to_date)
    }

    /// What senders of messages were answered, and how many messages each member has not read: as the API says in two ways,
    /// and as a count over the record finds.
    async fn conversation(&self) -> Conversation {
        let mut conversation = Conversation {
            members: self.chats.iter().map(|chat| (chat.id.clone(), chat.members.clone())).collect(),
            said: self.talked.said.lock().unwrap().clone(),
            ..Conversation::default()
        };
        let mut counted = self.unread_in_the_record().await;
        loop {
            conversation.unread = self.unread_as_answered(&counted).await;
            // Devices go on marking what they show as read, and then the answers and the count may be of different times.
            let after = self.unread_in_the_record().await;
            if after == counted {
                return conversation;
            }
            counted = after;
        }
    }

    /// How many messages of each chat each member has not read, by a count over the record.
    async fn unread_in_the_record(&self) -> Vec<(String, String, i64)> {
        let counted = "SELECT m.chat_id::text, m.user_id, count(s.seq) FROM chat_members m
                         LEFT JOIN messages s ON s.chat_id = m.chat_id AND s.seq > m.read_seq AND s.seq > m.cleared_seq
                        GROUP BY m.chat_id, m.user_id ORDER BY m.chat_id, m.user_id";
        sqlx::query_as(counted).fetch_all(&self.database).await.unwrap()
    }

    /// The same as the API says in two ways, beside what was counted.
    async fn unread_as_answered(&self, counted: &[(String, String, i64)]) -> Vec<Unread> {
        let mut unread = Vec::new();
        for user in &self.users {
            let counts = self.calls(user, "GET", "/api/chats/unread", &Value::Null).await.expect(200);
            let sync = self.calls(user, "GET", "/api/sync?limit=500", &Value::Null).await;
            let summaries = sync.json()["chats"].as_array().cloned().unwrap_or_default();
            for (chat, member, counted) in counted.iter().filter(|(_, member, _)| member == user) {
                let of = |answered| Unread { user: member.clone(), chat: chat.clone(), answered, counted: *counted };
                unread.push(of(counts["chats"][chat].as_i64().unwrap_or(0)));
                let summary = summaries.iter().find(|summary| summary["chatId"] == chat.as_str());
                unread.extend(summary.map(|summary| of(summary["unread"].as_i64().unwrap_or(-1))));
            }
        }
        unread
    }

    /// Checks that what was confirmed as read, or written by the user itself, does not count as unread.
    async fn check_read_marks(&self, found: &mut Found) {
        let marks = "SELECT chat_id::text, user_id, read_seq FROM chat_members";
        let marks: Vec<(String, String, i64)> = sqlx::query_as(marks).fetch_all(&self.database).await.unwrap();
        for (chat, user, mark) in marks {
            let devices = self.devices.iter().filter(|device| device.user == user);
            let read = devices.map(|device| device.seen.lock().unwrap().read.get(&chat).copied().unwrap_or(0));
            let said = self.talked.said.lock().unwrap();
            let said = said.iter().filter(|said| said.chat == chat && said.sender == user).map(|said| said.seq);
            let known = read.chain(said).max().unwrap_or(0);
            if mark < known {
                found.violated("read", format!("{user} has read {chat} up to {known}, and its mark is at {mark}"));
            }
        }
    }

    /// Checks I4: a repeated key gets its first answer again.
    async fn check_replays(&self, found: &mut Found) {
        let some: Vec<Sent> = {
            let accepted = self.service.log.accepted.lock().unwrap();
            let step = accepted.len().div_ceil(REPLAYED_KEYS).max(1);
            accepted.iter().step_by(step).cloned().collect()
        };
        for sent in &some {
            let headers =
                [("authorization", self.service.authorization.as_str()), ("content-type", "application/json")];
            let path = "/api/notifications/send";
            let call = harness::http::call(self.service.address, "POST", path, &headers, sent.request.to_string());
            let answer = call.await;
            // What Redis lost is accepted anew, under the same ids.
            let is_replayed =
                answer.header("idempotency-replayed") == "true" || found.sends_lost_by_redis > 0 && sent.is_fast();
            if answer.text != sent.answer || !is_replayed {
                let how =
                    format!("{} was answered {} first and {} later", sent.request["title"], sent.answer, answer.text);
                found.violated("I4", how);
            }
        }
    }

    /// Checks that sends and messages were accepted fast, so many of each, and that Redis lost no more than waited in it whenever
    /// it lost its memory.
    fn check_fast(&mut self, scenario: &Scenario, [sends, messages]: [usize; 2], found: &mut Found) {
        let (most, losses) = (self.most_logged.load(Ordering::Relaxed), self.losses.load(Ordering::Relaxed));
        let (sends_lost, messages_lost) = (found.sends_lost_by_redis, found.messages_lost_by_redis);
        self.note(format!(
            "{sends} sends and {messages} messages were accepted fast, of which at most {most} waited in Redis at once; it lost \
             its memory {losses} times, and with it {sends_lost} sends and {messages_lost} messages"
        ));
        for (what, accepted, must) in
            [("send", sends, scenario.sends_fast()), ("message", messages, scenario.talks_fast())]
        {
            if must && accepted == 0 {
                found.violated("fast", format!("no {what} was accepted fast"));
            }
        }
        let (lost, bound) = ((sends_lost + messages_lost) as u64, (most + MAX_UNSEEN) * losses);
        if lost > bound {
            found.violated("fast", format!("Redis lost {lost} sends and messages, more than {bound}"));
        }
    }

    /// Says accepted messages again: they have the place of their first answer.
    async fn repeat_messages(&self) {
        let said = self.talked.said.lock().unwrap().clone();
        let step = said.len().div_ceil(REPLAYED_KEYS).max(1);
        for said in said.iter().step_by(step) {
            let chat = self.chats.iter().position(|chat| chat.id == said.chat).unwrap();
            let user = self.users.iter().position(|user| *user == said.sender).unwrap();
            self.writer(chat, user).repeats(said, Way::Http).await;
        }
    }

    /// Ends the scenario: ends the fault, waits until no work is left, compares, and shuts down.
    pub(crate) async fn finish(mut self, scenario: &Scenario) -> (Servers, Report) {
        if self.fault_ended.is_none() {
            self.end_fault();
        }
        let fault_ended = self.fault_ended.unwrap_or(self.started_at);
        self.start_schedule();
        let goes_on = !self.load.is_empty();
        let recovery = if goes_on { self.recovers(fault_ended).await } else { Recovery::Unknown };
        self.stop_senders().await;
        self.wait_until_idle().await;
        let accepted = self.service.log.accepted.lock().unwrap().clone();
        let fast = self.accepts_fast.then(|| scenario.fast_promise());
        let mut found = checker::compare(&self.database, &accepted, &self.devices, fast).await;
        let messages = self.place_fast_messages(fast).await;
        match fast {
            Some(FastPromise::BestEffort) => found.messages_lost_by_redis = messages.lost,
            _ if messages.lost > 0 => {
                found.violated("chats", format!("{} messages without a place are not stored", messages.lost));
            }
            _ => {}
        }
        if self.accepts_fast {
            let sends = accepted.iter().filter(|sent| sent.is_fast()).count();
            self.check_fast(scenario, [sends, messages.accepted], &mut found);
        }
        self.repeat_messages().await;
        found.check_chats(&self.database, &self.devices, self.conversation().await).await;
        found.chats.accepted += messages.unordered;
        self.check_read_marks(&mut found).await;
        self.check_replays(&mut found).await;
        // Entries that fall due only now, or were claimed, are found to be stale and leave the queue.
        let (started, mut queued) = (Instant::now(), self.queued().await);
        while queued > 0 && started.elapsed() < MAX_BACKOFF_WAIT {
            pause(300).await;
            queued = self.queued().await;
        }
        if queued > 0 {
            found.violated("I8", format!("{queued} entries still wait in the queue"));
        }
        let duplicates = self.duplicate_frames(self.duplicates == Duplicates::Forbidden);
        if self.duplicates != Duplicates::Allowed && duplicates > 0 {
            found.violated("frames", format!("{duplicates} frames came twice although no push failed"));
        }
        let dead_letters = self.count("SELECT count(*) FROM dead_letters").await;
        if dead_letters > 0 {
            self.note(format!("{dead_letters} tasks were dead-lettered"));
        }
        if let Some([accepted, lost]) = self.baseline {
            (found.accepted, found.lost) = (accepted, lost);
        }
        let late = || report::recovery(&accepted, &self.devices, fault_ended, report::LATE_WITHIN);
        if goes_on && !matches!(recovery, Recovery::After(_)) && !matches!(late(), Recovery::After(_)) {
            let how = format!("deliveries were not live again while senders went on for {MAX_RECOVERY:?}");
            found.violated("recovery", how);
        }
        for failure in &self.failures {
            found.violated(scenario.id, failure.clone());
        }
        let report = self.report(scenario, found, recovery);
        self.schedule.abort();
        self.devices.clear();
        self.gateway.stop().await;
        self.database.close().await;
        // With a smaller data directory, the next Postgres that is killed recovers faster.
        self.servers.postgres.drops(&self.name).await;
        (self.servers, report)
    }

    fn report(&mut self, scenario: &Scenario, mut found: Found, recovery: Recovery) -> Report {
        let attempts = self.service.log.attempts.lock().unwrap();
        let talked = self.talked.attempts.lock().unwrap();
        let calls = attempts.iter().chain(talked.iter());
        for call in calls.filter(|call| (400..500).contains(&call.status) && call.status != 429) {
            found.violated("answers", format!("a valid send was answered with {} {}", call.status, call.code));
        }
        let share = |calls: usize| calls as f64 / attempts.len().max(1) as f64;
        Report {
            id: scenario.id,
            title: scenario.title,
            is_baseline: self.baseline.is_some(),
            accept_ms: report::accept_ms(attempts.iter()),
            message_ms: report::accept_ms(talked.iter()),
            recovery,
            retries: attempts.iter().filter(|call| call.is_retry).count(),
            refused: share(attempts.iter().filter(|call| !(200..300).contains(&call.status)).count()),
            slow: share(attempts.iter().filter(|call| call.took > report::SLOW).count()),
            notes: std::mem::take(&mut self.notes),
            took: self.started_at.elapsed(),
            found,
        }
    }
}
