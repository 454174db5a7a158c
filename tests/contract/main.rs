//! The contract: what a store must do to keep a promise. A suite is a list of behaviours. Each behaviour becomes a test
//! of its own on each store, named `suite::store::behaviour`, and gets a fresh store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// Runs behaviours on each store of the record. To add a store, write a function in `stores.rs` that opens a fresh one,
/// and add a line here: the name of the store's test module and that function.
///
/// Suites that need more than the promise and a second connection to the database, and the models, list their stores
/// themselves, in macros named `on_each!`.
macro_rules! on_each_record {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            sqlite => crate::stores::sqlite,
            postgres => crate::stores::postgres,
        }
    };
}

/// Runs behaviours on each store of the record, with a connection to its database beside it.
macro_rules! on_each_database {
    ($($behaviour:ident),* $(,)?) => {$(
        mod $behaviour {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                let (record, database, _guard) = crate::broken_rows::sqlite().await;
                super::$behaviour(record, database).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                let (record, database) = crate::broken_rows::postgres().await;
                super::$behaviour(record, database).await;
            }
        }
    )*};
}

/// Runs behaviours on each store of the moment: of its limits, its telemetry or its queue. A store is added as in
/// `on_each_record!`; it keeps all three promises.
macro_rules! on_each_moment {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            memory => crate::stores::memory,
            redis => crate::stores::redis,
            balanced => crate::stores::balanced,
            cluster => crate::stores::cluster,
        }
    };
}

macro_rules! tests_on {
    (@ [$($behaviour:ident)*] $open:path) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $behaviour() {
            // The guard keeps what the store needs, such as its folder, until the behaviour ends.
            let (store, _guard) = $open().await;
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

mod acquaintances;
mod audiences;
mod broken_rows;
mod cached_history;
mod chats;
mod connections;
mod dead_letters;
mod deliveries;
mod emitted;
mod erasure;
mod fast;
mod history;
mod inbox;
mod limits;
mod logs;
mod message_cache;
mod migrations;
mod model;
mod overlapping;
mod preferences;
mod presence;
mod queue;
mod retention;
mod revocations;
mod sqlite;
mod streams;
mod telemetry;
mod web_push;
