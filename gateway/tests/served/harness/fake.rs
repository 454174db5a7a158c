//! A function that records its events and does what the test tells it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{Function, FunctionError, StreamedAnswer};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::{Source, in_time};

type Behaviour = Arc<dyn Fn(Value) -> BoxFuture<'static, Result<Bytes, FunctionError>> + Send + Sync>;
type Streaming = Arc<dyn Fn(Value) -> BoxFuture<'static, Result<StreamedAnswer, FunctionError>> + Send + Sync>;

pub struct Fake {
    behaviour: Mutex<Behaviour>,
    /// What it does where it may stream; `None` if it does not stream.
    streaming: Mutex<Option<Streaming>>,
    recorded: mpsc::UnboundedSender<Value>,
    events: AsyncMutex<mpsc::UnboundedReceiver<Value>>,
}

impl Fake {
    /// Answers `{"statusCode":200}` unless a test changes that.
    pub fn new() -> Arc<Self> {
        let (recorded, events) = mpsc::unbounded_channel();
        let fake = Self {
            behaviour: Mutex::new(Arc::new(|_| Box::pin(async { Ok(Bytes::new()) }))),
            streaming: Mutex::default(),
            recorded,
            events: AsyncMutex::new(events),
        };
        fake.answers(json!({ "statusCode": 200 }));
        Arc::new(fake)
    }

    pub fn answers(&self, answer: Value) {
        self.answers_text(&answer.to_string());
    }

    /// Answers with a text that need not be JSON.
    pub fn answers_text(&self, text: &str) {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.does(move |_| {
            let text = text.clone();
            async move { Ok(text) }
        });
    }

    pub fn fails(&self) {
        let error = FunctionError { error_type: "Unavailable".into(), message: "the store is down".into() };
        self.does(move |_| {
            let error = error.clone();
            async move { Err(error) }
        });
    }

    pub fn does<F>(&self, behaviour: impl Fn(Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Bytes, FunctionError>> + Send + 'static,
    {
        *self.behaviour.lock().unwrap() = Arc::new(move |event| Box::pin(behaviour(event)));
    }

    pub fn does_streaming<F>(&self, behaviour: impl Fn(Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<StreamedAnswer, FunctionError>> + Send + 'static,
    {
        *self.streaming.lock().unwrap() = Some(Arc::new(move |event| Box::pin(behaviour(event))));
    }

    /// Streams what the test sends: the receiver gets the source of each stream as it begins.
    pub fn streams(&self) -> mpsc::UnboundedReceiver<Source> {
        let (begun, sources) = mpsc::unbounded_channel();
        self.does_streaming(move |_| {
            let (source, answer) = Source::new();
            // A test may be over before its last stream begins.
            let _ = begun.send(source);
            async move { Ok(answer) }
        });
        sources
    }

    /// Waits for the next event that it is called with.
    pub async fn event(&self) -> Value {
        in_time(async { self.events.lock().await.recv().await.unwrap() }).await
    }

    /// Whether every event that it was called with has been taken.
    pub async fn has_no_events(&self) -> bool {
        self.events.lock().await.try_recv().is_err()
    }
}

#[async_trait::async_trait]
impl Function for Fake {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        let event: Value = serde_json::from_slice(&event).unwrap();
        let behaviour = Arc::clone(&self.behaviour.lock().unwrap());
        self.recorded.send(event.clone()).unwrap();
        behaviour(event).await
    }

    async fn invoke_streaming(&self, event: Bytes, timeout: Duration) -> Result<StreamedAnswer, FunctionError> {
        let streaming = self.streaming.lock().unwrap().clone();
        let Some(streaming) = streaming else {
            return Unstreamed(self).invoke_streaming(event, timeout).await;
        };
        let event: Value = serde_json::from_slice(&event).unwrap();
        self.recorded.send(event.clone()).unwrap();
        streaming(event).await
    }
}

/// A fake as a function that does not stream.
struct Unstreamed<'a>(&'a Fake);

#[async_trait::async_trait]
impl Function for Unstreamed<'_> {
    async fn invoke(&self, event: Bytes) -> Result<Bytes, FunctionError> {
        self.0.invoke(event).await
    }
}
