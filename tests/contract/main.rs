//! The contract: what a store must do that keeps a promise. A suite is a list of behaviours; each becomes a test of
//! its own on each store, named `suite::store::behaviour`, and gets a fresh store. A further store is one line here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// The stores of the record.
macro_rules! on_each_record {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            sqlite => crate::stores::sqlite,
            postgres => crate::stores::postgres,
        }
    };
}

/// The stores of the moment's limits.
macro_rules! on_each_limits {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            memory => crate::stores::memory,
            redis => crate::stores::redis,
        }
    };
}

/// The stores of the moment that keep notes.
macro_rules! on_each_notes {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            memory => crate::stores::memory,
            redis => crate::stores::redis,
        }
    };
}

/// The stores of the moment that keep a queue.
macro_rules! on_each_queue {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            memory => crate::stores::memory,
            redis => crate::stores::redis,
        }
    };
}

macro_rules! tests_on {
    (@ [$($behaviour:ident)*] $open:path) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $behaviour() {
            // What is kept goes with the store: its folder, its database.
            let (store, _kept) = $open().await;
            super::$behaviour(store).await;
        }
    )*};
    ([$($behaviour:ident)*]) => {};
    ($behaviours:tt $store:ident => $open:path, $($more:tt)*) => {
        mod $store {
            tests_on! { @ $behaviours $open }
        }
        tests_on! { $behaviours $($more)* }
    };
}

mod record;
mod stores;

mod connections;
mod dead_letters;
mod deliveries;
mod held;
mod history;
mod inbox;
mod limits;
mod migrations;
mod model;
mod queue;
mod refused;
mod retention;
mod sqlite;
mod telemetry;
