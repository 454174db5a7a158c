//! Stores against models: for any operations in any order, a store answers like a model in plain maps that knows the
//! store's promise and nothing about databases.
//!
//! Each store gets 8 generated lists of operations, or as many as `CARILLON_CASES` says. The lists are the same on
//! every run unless `CARILLON_SEED` changes. A list that fails is shrunk and printed.

mod accept;
mod compare;
mod due;
mod limits;
mod operation;
mod perform;
mod queue;
mod snooze;
mod sockets;
mod state;

use std::cell::Cell;
use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

pub(crate) use self::compare::{clean_up, differences};
pub(crate) use self::operation::{CursorSpec, Edit, Operation};
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
pub(crate) use on_each;

mod a_record_answers_like_its_model {
    super::on_each!(answers_like_its_model: sqlite postgres);
}

fn answers_like_its_model<K>(open: impl AsyncFn() -> (Record, K)) {
    // The lists share one store until one fails. Each list has users of its own.
    let (reused, lists) = (Cell::new(None), Cell::new(0));
    for_all(operation::operations(), async |operations: Vec<Operation>| {
        let (record, guard) = match reused.take() {
            Some(opened) => opened,
            None => open().await,
        };
        lists.set(lists.get() + 1);
        let model = Model::new(&record, &format!("list {}: ", lists.get()), &["alice", "bob", "carol", "dave"]).await;
        perform_all(&record, model, &operations).await?;
        reused.set(Some((record, guard)));
        Ok(())
    });
}

/// Performs one operation after the other, and compares the record with the model after each.
async fn perform_all(record: &Record, mut model: Model, operations: &[Operation]) -> Result<(), String> {
    for operation in operations {
        let outcome = perform(record, &model, operation).await;
        let outcome = outcome.map_err(|error| format!("{operation:?}: {error}"))?;
        model.accept(operation, &outcome).map_err(|why| format!("{operation:?}: {why}"))?;
        differences(record, &model).await.map_err(|why| format!("after {operation:?}: {why}"))?;
        model.advance(1);
    }
    compare::full_differences(record, &model).await?;
    clean_up(record, &model).await
}

/// Checks that a property holds for all generated lists of operations.
pub(crate) fn for_all<O: Debug>(operations: impl Strategy<Value = O>, property: impl AsyncFn(O) -> Result<(), String>) {
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
    let result = TestRunner::new(config)
        .run(&operations, |operations| runtime.block_on(property(operations)).map_err(TestCaseError::fail));
    result.unwrap_or_else(|failed| panic!("with CARILLON_SEED={seed}: {failed}"));
}
