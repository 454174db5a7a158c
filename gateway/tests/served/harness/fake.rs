//! A function that records its events and does what the test tells it to.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{Function, FunctionError};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::in_time;

type Behaviour = Arc<dyn Fn(Value) -> BoxFuture<'static, Result<Bytes, FunctionError>> + Send + Sync>;

pub struct Fake {
    behaviour: Mutex<Behaviour>,
    recorded: mpsc::UnboundedSender<Value>,
    events: AsyncMutex<mpsc::UnboundedReceiver<Value>>,
}

impl Fake {
    /// Answers `{"statusCode":200}` unless a test changes that.
    pub fn new() -> Arc<Self> {
        let (recorded, events) = mpsc::unbounded_channel();
        let fake = Self {
            behaviour: Mutex::new(Arc::new(|_| Box::pin(async { Ok(Bytes::new()) }))),
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
}
