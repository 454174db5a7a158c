//! Stores against models: whatever is done in whatever order, a store answers as plain maps do that know its promise
//! and nothing of databases.
//!
//! Each store meets 8 lists of operations, or as many as `CARILLON_CASES` says: the same ones each time, others with
//! another `CARILLON_SEED`. What fails is made as short as it can be and printed.

mod accept;
mod compare;
mod due;
mod limits;
mod operation;
mod perform;
mod queue;
mod sockets;
mod state;

use std::cell::Cell;
use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

pub(crate) use self::compare::{differences, leave};
pub(crate) use self::operation::{Operation, Spot, What};
pub(crate) use self::perform::{Outcome, perform};
pub(crate) use self::state::Model;
use crate::record::Record;

/// The same test for each store.
macro_rules! on_each {
    ($test:ident: $($store:ident)*) => {$(
        #[test]
        fn $store() {
            super::$test(crate::stores::$store);
        }
    )*};
}
use on_each;

mod a_record_answers_as_its_model_does {
    super::on_each!(meets_its_model: sqlite postgres);
}

fn meets_its_model<K>(open: impl AsyncFn() -> (Record, K)) {
    // One store for as long as it answers well, and users of their own for each list.
    let (kept, lists) = (Cell::new(None), Cell::new(0));
    always(operation::operations(), async |operations: Vec<Operation>| {
        let (record, keeps) = match kept.take() {
            Some(kept) => kept,
            None => open().await,
        };
        lists.set(lists.get() + 1);
        let model = Model::new(&record, &format!("list {}: ", lists.get()), &["alice", "bob", "carol", "dave"]).await;
        follow(&record, model, &operations).await?;
        kept.set(Some((record, keeps)));
        Ok(())
    });
}

/// Does one operation after the other, and looks after each.
async fn follow(record: &Record, mut model: Model, operations: &[Operation]) -> Result<(), String> {
    for operation in operations {
        let outcome = perform(record, &model, operation).await;
        let outcome = outcome.map_err(|error| format!("{operation:?}: {error}"))?;
        model.accept(operation, &outcome).map_err(|why| format!("{operation:?}: {why}"))?;
        differences(record, &model).await.map_err(|why| format!("after {operation:?}: {why}"))?;
        model.pass(1);
    }
    compare::thoroughly(record, &model).await?;
    leave(record, &model).await
}

/// Holds for every list of operations that chance finds.
fn always<O: Debug>(operations: impl Strategy<Value = O>, holds: impl AsyncFn(O) -> Result<(), String>) {
    let from_environment = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = from_environment("CARILLON_CASES").unwrap_or(8);
    let seed = from_environment("CARILLON_SEED").unwrap_or(1);
    let config = Config {
        cases: cases.try_into().unwrap(),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let met = TestRunner::new(config)
        .run(&operations, |operations| runtime.block_on(holds(operations)).map_err(TestCaseError::fail));
    met.unwrap_or_else(|failed| panic!("with CARILLON_SEED={seed}: {failed}"));
}
