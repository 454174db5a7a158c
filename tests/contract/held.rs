//! Two acts on one inbox at once, each with each, also with itself: somebody holds the lock that they need until both
//! have begun, so that they overlap however short they are. What both answered, and what is left, is what one after
//! the other would have made, in one of the two orders.

mod lock;
mod meetings;

use self::lock::{InPostgres, InSqlite, Lock};
use self::meetings::{ACTS, Meeting};
use crate::record::Record;

/// The same test for each store: how it is opened, with somebody who can hold its locks.
macro_rules! on_each {
    ($($store:ident => $open:path),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $store() {
            let (record, lock, _kept) = $open().await;
            super::each_meets_each(&record, lock).await;
        }
    )*};
}

mod acts_that_overlap_end_as_one_after_the_other {
    on_each! {
        sqlite => super::InSqlite::open,
        postgres => super::InPostgres::open,
    }
}

async fn each_meets_each<L: Lock>(record: &Record, mut lock: L) {
    for which in L::KINDS {
        for first in ACTS {
            for second in ACTS {
                if !Meeting::is_one(*which, [first, second]) {
                    continue;
                }
                // The first begins, and comes to the lock, before the second; both end after it is released.
                let meeting = Meeting::prepare(record, *which, [first, second]).await;
                lock.hold(*which, meeting.user()).await;
                let first = meeting.begin(record, 0);
                lock.until_waiting(&[&first]).await;
                let second = meeting.begin(record, 1);
                lock.until_waiting(&[&first, &second]).await;
                meeting.assert_overlap([&first, &second]);
                lock.release().await;
                meeting.assert_one_after_the_other(record, [first.await, second.await]).await;
            }
        }
    }
}
