//! Every pair of actions on one inbox, run concurrently; each action is also paired with itself. The test holds a lock
//! that they need until both have begun, so that they overlap however short they are. Their answers and the resulting
//! state must be those of one of the two serial orders.

mod lock;
mod pairs;

use self::lock::{Lock, PostgresLock, SqliteLock};
use self::pairs::{ACTIONS, Pair};
use crate::record::Record;

/// The same test for each store, given the function that opens it together with something that can hold its locks.
macro_rules! on_each {
    ($($store:ident => $open:path),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $store() {
            let (record, lock, _guard) = $open().await;
            super::every_pair_is_serialisable(&record, lock).await;
        }
    )*};
}

mod overlapping_actions_end_as_in_one_of_the_two_serial_orders {
    on_each! {
        sqlite => super::SqliteLock::open,
        postgres => super::PostgresLock::open,
    }
}

async fn every_pair_is_serialisable<L: Lock>(record: &Record, mut lock: L) {
    for target in L::TARGETS {
        for first in ACTIONS {
            for second in ACTIONS {
                if !Pair::is_relevant(*target, [first, second]) {
                    continue;
                }
                // The first action reaches the lock before the second begins. Both end after it is released.
                let pair = Pair::prepare(record, *target, [first, second]).await;
                lock.hold(*target, pair.user()).await;
                let first = pair.begin(record, 0);
                lock.until_waiting(&[&first]).await;
                let second = pair.begin(record, 1);
                lock.until_waiting(&[&first, &second]).await;
                pair.assert_overlap([&first, &second]);
                lock.release().await;
                pair.assert_serialisable(record, [first.await, second.await]).await;
            }
        }
    }
}
