//! A push service accepts, forgets, shrinks, postpones, fails, hangs and redirects in turn, and busy drains are killed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use harness::push_service::{Browser, PushService, Pushed, Reply};
use serde_json::Value;
use shared::web_push::vapid;

use crate::random::Random;
use crate::sender::{Load, send_body};
use crate::testbed::{Testbed, pause};

/// The users without a device; the last user of the testbed has one that is away.
const ABSENT: [&str; 3] = ["absent-0", "absent-1", "absent-2"];
/// The pause of a service after a send.
const PAUSE_AFTER_SEND: Duration = Duration::from_millis(150);
/// How long the push service asks to wait with its 429: longer than any retry waits by itself.
const RETRY_AFTER: Duration = Duration::from_secs(120);
/// How long a push that failed waits at least: the first backoff is 10 s, of which jitter takes a quarter at most.
const MIN_BACKOFF: Duration = Duration::from_millis(7_500);
/// What is due later is brought nearer by this. No drain runs meanwhile, or it would lose its claims.
const MINUTE: Duration = Duration::from_secs(60);
/// How long after a kill a request of the killed process may still arrive.
const KILLED_REQUEST: Duration = Duration::from_secs(1);
/// How long a drain works at most on what it has taken: twice the timeout of a push, since one may be shortened.
const MAX_BATCH: Duration = Duration::from_secs(11);
/// The most subscriptions of a user, so that none of a browser that stays is replaced: drains remove those of the others only
/// when they settle.
const MAX_SUBSCRIBED: i64 = 8;
const LEFT: &str = "SELECT count(*) FROM notifications WHERE web_push_at IS NOT NULL";

/// How the push service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Accepts,
    Forgets(u16),
    Shrinks,
    Postpones,
    Fails,
    Hangs,
    Redirects,
}

/// To browsers that stay, and to those that are forgotten in the end.
const STAYING: [Answer; 6] =
    [Answer::Accepts, Answer::Shrinks, Answer::Postpones, Answer::Fails, Answer::Hangs, Answer::Accepts];
const LEAVING: [Answer; 8] = [
    Answer::Accepts,
    Answer::Forgets(404),
    Answer::Shrinks,
    Answer::Postpones,
    Answer::Forgets(410),
    Answer::Fails,
    Answer::Hangs,
    Answer::Redirects,
];

/// A push of a notification to one browser.
struct Request {
    at: Instant,
    path: String,
    id: String,
    /// Whether it says less, for a push service that takes less.
    is_stub: bool,
    answer: Answer,
}

/// The browsers of all users, and what their push service was asked and answered.
#[derive(Default)]
struct Browsers {
    by_path: HashMap<String, Browser>,
    forgotten: HashSet<String>,
    requests: Vec<Request>,
    /// The tag of each notification.
    tags: HashMap<String, String>,
    wrong_tags: usize,
    /// How many were asked of each kind.
    turns: [usize; 2],
    /// Whether every push is accepted, except at browsers that were forgotten.
    is_healthy: bool,
    redirect: String,
}

impl Browsers {
    fn answers(&mut self, pushed: &Pushed) -> Reply {
        let payload: Value = serde_json::from_slice(&self.by_path[&pushed.path].decrypted(pushed)).unwrap();
        let (is_stub, answer) = (payload["fetch"] == true, self.next(&pushed.path));
        let answer = if is_stub && answer == Answer::Shrinks { Answer::Accepts } else { answer };
        if matches!(answer, Answer::Forgets(_)) {
            self.forgotten.insert(pushed.path.clone());
        }
        if payload["kind"] == "notification" {
            let id = payload["id"].as_str().unwrap().to_owned();
            let tag = self.tags.entry(id.clone()).or_insert_with(|| pushed.header("topic").to_owned());
            self.wrong_tags += usize::from(payload["tag"] != **tag || pushed.header("topic") != tag);
            self.requests.push(Request { at: Instant::now(), path: pushed.path.clone(), id, is_stub, answer });
        }
        match answer {
            Answer::Accepts => Reply::Status(201),
            Answer::Forgets(status) => Reply::Status(status),
            Answer::Shrinks => Reply::Status(413),
            Answer::Postpones => Reply::RetryAfter(429, RETRY_AFTER.as_secs().to_string()),
            Answer::Fails => Reply::Status(500),
            Answer::Hangs => Reply::Nothing,
            Answer::Redirects => Reply::Redirect(self.redirect.clone()),
        }
    }

    fn next(&mut self, path: &str) -> Answer {
        if self.forgotten.contains(path) {
            return Answer::Forgets(410);
        }
        if self.is_healthy {
            return Answer::Accepts;
        }
        let (kind, answers) = if path.starts_with("/stays/") { (0, &STAYING[..]) } else { (1, &LEAVING[..]) };
        self.turns[kind] += 1;
        answers[(self.turns[kind] - 1) % answers.len()]
    }
}

/// The scenario while it runs.
struct Run<'a> {
    testbed: &'a mut Testbed,
    service: PushService,
    browsers: Arc<Mutex<Browsers>>,
    users: Vec<String>,
    /// When busy drains were killed.
    kills: Vec<Instant>,
    /// When what is due later was brought nearer by a minute.
    minutes: Vec<Instant>,
    /// When notifications were read.
    reads: HashMap<String, Instant>,
}

/// F57: a push service answers in turn 201, 404, 410, 413, 429 with `Retry-After`, 500, not at all, and with a redirect. Every
/// notification of a user who is away is pushed, and repeated only after a kill or where an answer asks for it.
pub(crate) async fn answers_in_turn(testbed: &mut Testbed) {
    let elsewhere = PushService::start().await;
    let random = Random::new(testbed.seed);
    let mut run = Run::start(testbed, elsewhere.endpoint("/elsewhere")).await;
    run.goes_on(Duration::from_secs(6)).await;
    let (kills_began, mut killed) = (Instant::now(), 0);
    while kills_began.elapsed() < Duration::from_secs(6) {
        run.goes_on(Duration::from_millis(200 + random.below(800) as u64)).await;
        killed += run.kills_drains();
    }
    run.testbed.stop_senders().await;
    killed += run.kills_drains();
    run.recovers().await;
    run.ends_with_a_send_to_all().await;
    run.check(killed).await;
    testbed.require(elsewhere.connections() == 0, "a redirect was followed");
    testbed.devices[testbed.users.len() - 1].comes_back();
    testbed.end_fault();
    testbed.start_senders("back", 1, PAUSE_AFTER_SEND);
}

impl<'a> Run<'a> {
    /// Deploys what has to know the push service, lets the users subscribe there, and starts to send.
    async fn start(testbed: &'a mut Testbed, redirect: String) -> Self {
        let service = PushService::start().await;
        let browsers = Arc::new(Mutex::new(Browsers { redirect, ..Browsers::default() }));
        let answering = Arc::clone(&browsers);
        service.decides(move |pushed| answering.lock().unwrap().answers(pushed));
        let (public, private) = vapid::generate().unwrap();
        let mut variables = vec![("VAPID_PUBLIC_KEY", public), ("WEB_PUSH_HOSTS", service.host())];
        testbed.lambda.deploy("push", &variables);
        variables.push(("VAPID_PRIVATE_KEY", private.reveal().to_owned()));
        variables.push(("VAPID_SUBJECT", "mailto:ops@example.com".to_owned()));
        testbed.lambda.deploy("drain", &variables);

        let away = testbed.users.len() - 1;
        testbed.devices[away].goes_away();
        let users: Vec<String> = ABSENT.map(str::to_owned).into_iter().chain([testbed.users[away].clone()]).collect();
        while testbed.count("SELECT count(*) FROM connections WHERE user_id = 'user-5'").await > 0 {
            pause(20).await;
        }
        let (kills, minutes, reads) = Default::default();
        let run = Self { testbed, service, browsers, users, kills, minutes, reads };
        for user in &run.users {
            run.subscribes(user, &format!("/stays/{user}")).await;
        }
        run.renews().await;
        run.testbed.start_senders("present", 1, PAUSE_AFTER_SEND);
        let load = Load::start("absent", 2, PAUSE_AFTER_SEND, &run.testbed.service, &run.users);
        run.testbed.load.push(load);
        run
    }

    fn browsers(&self) -> MutexGuard<'_, Browsers> {
        self.browsers.lock().unwrap()
    }

    async fn subscribes(&self, user: &str, path: &str) {
        let browser = Browser::new();
        let subscription = browser.subscription(&self.service.endpoint(path));
        self.browsers().by_path.insert(path.to_owned(), browser);
        self.testbed.calls(user, "POST", "/api/push/subscriptions", &subscription).await.expect(201);
    }

    /// Lets each user subscribe with a new browser whose other one was forgotten.
    async fn renews(&self) {
        for user in &self.users {
            let paths: HashSet<String> = {
                let browsers = self.browsers();
                let is_own = |path: &&String| path.starts_with(&format!("/leaves/{user}/"));
                browsers.by_path.keys().filter(is_own).cloned().collect()
            };
            let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM push_subscriptions WHERE user_id = $1")
                .bind(user)
                .fetch_one(&self.testbed.database)
                .await
                .unwrap();
            if stored < MAX_SUBSCRIBED && paths.is_subset(&self.browsers().forgotten) {
                self.subscribes(user, &format!("/leaves/{user}/{}", paths.len())).await;
            }
        }
    }

    /// Lets everything run for this long, while users subscribe anew and the first one reads.
    async fn goes_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.renews().await;
            let reader = &self.users[0];
            let newest = {
                let accepted = self.testbed.service.log.accepted.lock().unwrap();
                let promised = accepted.iter().rev().flat_map(|sent| sent.promised());
                promised.into_iter().find(|(user, _)| user == reader).map(|(_, id)| id)
            };
            if let Some(id) = newest.filter(|id| !self.reads.contains_key(id)) {
                let path = format!("/api/notifications/{id}/read");
                self.testbed.calls(reader, "POST", &path, &Value::Null).await.expect(204);
                self.reads.insert(id, Instant::now());
            }
            pause(300.min(time.as_millis() as u64)).await;
        }
    }

    /// Kills the drains that are busy; returns how many.
    fn kills_drains(&mut self) -> usize {
        let at = Instant::now();
        let killed = self.testbed.lambda.kill_busy("drain");
        self.kills.extend((killed > 0).then_some(at));
        killed
    }

    /// Lets time pass, now that every push is accepted, until nothing is left to push.
    async fn recovers(&mut self) {
        self.browsers().is_healthy = true;
        for _ in 0..15 {
            self.testbed.run_for(0.8).await;
            if self.testbed.count(LEFT).await == 0 {
                return;
            }
            let lambda = Arc::clone(&self.testbed.lambda);
            let paused = lambda.pauses("drain").await;
            let minute = "UPDATE notifications SET web_push_at = web_push_at - 60000 WHERE web_push_at IS NOT NULL";
            sqlx::query(minute).execute(&self.testbed.database).await.unwrap();
            self.minutes.push(Instant::now());
            drop(paused);
        }
    }

    /// What a killed drain did not forget is asked once more, and forgotten.
    async fn ends_with_a_send_to_all(&mut self) {
        self.testbed.service.send(send_body("last", 0, &self.users)).await;
        // If it is accepted fast, a drain writes it first.
        for _ in 0..20 {
            self.testbed.run_for(0.3).await;
            let id = "SELECT count(*) FROM notifications n JOIN sends s ON s.id = n.send_id
                       WHERE s.title = 'last/0' AND n.web_pushed_at IS NOT NULL";
            if self.testbed.count(id).await == self.users.len() as i64 {
                break;
            }
        }
        // A drain forgets subscriptions after it has settled, so it may still be doing that.
        drop(self.testbed.lambda.pauses("drain").await);
        let left = self.testbed.count(LEFT).await;
        self.testbed.require(left == 0, format!("{left} pushes are still left"));
    }

    async fn check(&mut self, killed: usize) {
        let promised: Vec<(String, String)> = {
            let accepted = self.testbed.service.log.accepted.lock().unwrap();
            accepted.iter().flat_map(|sent| sent.promised()).filter(|(user, _)| self.users.contains(user)).collect()
        };
        let endpoints: Vec<String> = sqlx::query_scalar("SELECT endpoint FROM push_subscriptions")
            .fetch_all(&self.testbed.database)
            .await
            .unwrap();
        let (mut failures, note) = {
            let browsers = self.browsers.lock().unwrap();
            let kept =
                browsers.forgotten.iter().filter(|path| endpoints.contains(&self.service.endpoint(path))).count();
            let mut failures = vec![(kept, "forgotten subscriptions are still stored")];
            failures.extend(self.find_missed(&browsers, &promised));
            failures.extend(self.find_repeated(&browsers));
            failures.push((browsers.wrong_tags, "pushes had another tag than their notification"));
            (failures, note(&browsers, promised.len()))
        };
        failures.push((usize::from(killed == 0), "no drain was busy when it was to be killed"));
        self.testbed.note(format!("{note}; killed {killed} busy drains"));
        for (count, what) in failures {
            self.testbed.require(count == 0, format!("{count} {what}"));
        }
    }

    /// Notifications that no browser that stays has taken, unless they were read, and those that were pushed long after that.
    fn find_missed(&self, browsers: &Browsers, promised: &[(String, String)]) -> [(usize, &'static str); 2] {
        let is_taken = |user: &str, id: &str| {
            let path = format!("/stays/{user}");
            let mut own = browsers.requests.iter().filter(|request| request.path == path && request.id == id);
            own.any(|request| request.answer == Answer::Accepts)
        };
        let missed = promised.iter().filter(|(user, id)| !self.reads.contains_key(id) && !is_taken(user, id)).count();
        let is_late =
            |request: &&Request| self.reads.get(&request.id).is_some_and(|read| request.at > *read + MAX_BATCH);
        let late = browsers.requests.iter().filter(is_late).count();
        [(missed, "notifications of users who were away were not pushed"), (late, "pushes came long after the reading")]
    }

    /// Requests that repeat an earlier one although no drain was killed between them and its answer does not ask for it, or
    /// asks for more patience.
    fn find_repeated(&self, browsers: &Browsers) -> [(usize, &'static str); 1] {
        let mut by_browser: BTreeMap<(&str, &str), Vec<&Request>> = BTreeMap::new();
        for request in &browsers.requests {
            by_browser.entry((&request.path, &request.id)).or_default().push(request);
        }
        let is_wrong = |pair: &&[&Request]| {
            let [first, second] = pair else { return false };
            let is_between = |at: &Instant| *at + KILLED_REQUEST >= first.at && *at <= second.at;
            let minutes = self.minutes.iter().filter(|at| (first.at..second.at).contains(*at)).count() as u32;
            let waited = second.at - first.at + MINUTE * minutes;
            let is_asked_for = match first.answer {
                Answer::Accepts | Answer::Forgets(_) | Answer::Redirects => false,
                Answer::Shrinks => second.is_stub,
                Answer::Postpones => waited >= RETRY_AFTER,
                Answer::Fails | Answer::Hangs => waited >= MIN_BACKOFF,
            };
            !is_asked_for && !self.kills.iter().any(is_between)
        };
        let wrong = by_browser.values().map(|requests| requests.windows(2).filter(is_wrong).count()).sum();
        [(wrong, "pushes were repeated, or repeated too early, although no drain was killed")]
    }
}

/// How many requests there were, by answer.
fn note(browsers: &Browsers, promised: usize) -> String {
    let mut answers: BTreeMap<Answer, usize> = BTreeMap::new();
    browsers.requests.iter().for_each(|request| *answers.entry(request.answer).or_default() += 1);
    let answers: Vec<String> = answers.iter().map(|(answer, count)| format!("{answer:?} {count}")).collect();
    format!(
        "{promised} notifications of users who were away, {} requests: {}",
        browsers.requests.len(),
        answers.join(", ")
    )
}
