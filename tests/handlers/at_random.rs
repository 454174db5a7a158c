//! Generated lists of acts: the same on every run unless `CARILLON_SEED` changes; `CARILLON_CASES` says how many there are. A
//! list that fails is shrunk and printed.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Why a list of acts fails.
pub(crate) type Check = Result<(), String>;

pub(crate) fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Check {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?} instead of {expected:?}")) }
}

/// Checks that a property holds for all generated lists of acts.
pub(crate) fn for_all<A: Debug>(acts: impl Strategy<Value = A>, property: impl AsyncFn(A) -> Check) {
    let from_environment = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u32>().unwrap());
    let seed = from_environment("CARILLON_SEED").unwrap_or(1);
    let config = Config {
        cases: from_environment("CARILLON_CASES").unwrap_or(4),
        rng_seed: RngSeed::Fixed(seed.into()),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result =
        TestRunner::new(config).run(&acts, |acts| runtime.block_on(property(acts)).map_err(TestCaseError::fail));
    result.unwrap_or_else(|failed| panic!("with CARILLON_SEED={seed}: {failed}"));
}
