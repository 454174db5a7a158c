//! The function `erratic` of a template, and what is known of its sandboxes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gateway::sandboxes::{Log, Sandboxes, Settings};
use gateway::{Function, FunctionError, Template};
use serde_json::{Value, json};

/// Longer than anything takes that a test waits for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The function, with the lines that it and its sandboxes have written.
pub(crate) struct Erratic {
    pub(crate) function: Arc<dyn Function>,
    pub(crate) sandboxes: Sandboxes,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Erratic {
    /// The function with these further properties in the template, in YAML, and at most two sandboxes.
    pub(crate) async fn with(properties: &str) -> Self {
        Self::idle_for(properties, Duration::from_secs(600)).await
    }

    /// The same; its sandboxes end when they have been idle for so long.
    pub(crate) async fn idle_for(properties: &str, max_idle: Duration) -> Self {
        let template = format!(
            "Resources:\n  Erratic:\n    Type: AWS::Serverless::Function\n    \
             Metadata: {{ BuildProperties: {{ Binary: erratic }} }}\n    \
             Properties: {{ CodeUri: ., FunctionName: shop, {properties} }}\n"
        );
        let template = Template::parse(&template).unwrap();
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_erratic")).parent().unwrap().to_owned();
        let settings = Settings { folder, max_sandboxes: 2, max_idle };
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let log = Log::with_reports(move |sandbox, line| written.lock().unwrap().push(format!("{sandbox} {line}")));
        let variables = |function: &gateway::template::FunctionDefinition| {
            let values = function.environment.clone().into_iter();
            Ok(values.map(|(name, value)| (name, value.unwrap())).collect())
        };
        let sandboxes = Sandboxes::prepare(&template, settings, variables, log).await.unwrap();
        let function = Arc::clone(sandboxes.functions().get("shop").unwrap());
        Self { function, sandboxes, lines }
    }

    /// Its answer to an event.
    pub(crate) async fn does(&self, what: &str) -> Result<Value, FunctionError> {
        self.answers(json!({"do": what})).await
    }

    pub(crate) async fn answers(&self, event: Value) -> Result<Value, FunctionError> {
        let answer = self.function.invoke(event.to_string().into());
        Ok(serde_json::from_slice(&in_time(answer).await?).unwrap())
    }

    /// Its answer where it may stream.
    pub(crate) async fn streams(&self, path: &str) -> Result<gateway::StreamedAnswer, FunctionError> {
        in_time(self.function.invoke_streaming(http_event(path), TIMEOUT)).await
    }

    /// All lines, as soon as so many of them are REPORT or INIT_REPORT lines.
    pub(crate) async fn lines(&self, reports: usize) -> Vec<String> {
        self.lines_with("REPORT ", reports).await
    }

    /// Returns when so many calls have begun.
    pub(crate) async fn has_begun(&self, calls: usize) {
        self.lines_with("] START ", calls).await;
    }

    async fn lines_with(&self, text: &str, count: usize) -> Vec<String> {
        in_time(async {
            loop {
                let lines = self.lines.lock().unwrap().clone();
                if lines.iter().filter(|line| line.contains(text)).count() >= count {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }
}

/// What a REST API sends for a GET.
pub(crate) fn http_event(path: &str) -> Bytes {
    json!({"path": path, "httpMethod": "GET", "headers": {}, "requestContext": {"httpMethod": "GET"}})
        .to_string()
        .into()
}

/// Awaits what must happen, and fails instead of waiting forever.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("did not happen within 20 s")
}

/// The state of a process as the kernel names it, such as `T` if it is stopped; `None` if it has ended.
pub(crate) fn state_of(pid: &Value) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything.
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    // A zombie has ended; it only waits for its parent to notice.
    (state != 'Z').then_some(state)
}

/// Returns when a process has this state.
pub(crate) async fn has_state(pid: &Value, state: Option<char>) {
    in_time(async {
        while state_of(pid) != state {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
