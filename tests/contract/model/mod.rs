//! Stores against models: whatever is done in whatever order, a store answers as plain maps do that know its promise
//! and nothing of databases.
//!
//! Each store meets 24 lists of operations, or as many as `CARILLON_CASES` says. What fails is made as short as it can
//! be and printed with its seed, which `CARILLON_SEED` repeats.

mod accept;
mod compare;
mod limits;
mod operation;
mod state;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

pub(crate) use self::compare::differences;
pub(crate) use self::operation::{Operation, Outcome, Spot, What, perform};
pub(crate) use self::state::Model;
use crate::record::{Record, user};

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
    always(operation::operations(), async |operations: Vec<Operation>| {
        let (record, _kept) = open().await;
        let epoch = record.position("nobody").await.epoch;
        let mut model = Model::new(epoch, "", ["alice", "bob", "carol", "dave"].map(user).into());
        for operation in &operations {
            let outcome = perform(&record, &model, operation).await;
            let outcome = outcome.map_err(|error| format!("{operation:?}: {error}"))?;
            model.accept(operation, &outcome).map_err(|why| format!("{operation:?}: {why}"))?;
            differences(&record, &model).await.map_err(|why| format!("after {operation:?}: {why}"))?;
            model.pass(1);
        }
        compare::thoroughly(&record, &model).await
    });
}

/// Holds for every list of operations that chance finds.
fn always<O: Debug>(operations: impl Strategy<Value = O>, holds: impl AsyncFn(O) -> Result<(), String>) {
    let from_environment = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = from_environment("CARILLON_CASES").unwrap_or(24);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = from_environment("CARILLON_SEED").unwrap_or(since_1970.as_millis().try_into().unwrap());
    let config = Config {
        cases: cases.try_into().unwrap(),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let met = TestRunner::new(config).run(&operations, |operations| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(holds(operations)).map_err(TestCaseError::fail)
    });
    met.unwrap_or_else(|failed| panic!("with CARILLON_SEED={seed}: {failed}"));
}
