//! What a thousand sockets that only listen occupy.

use std::path::Path;
use std::time::Duration;

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::machine;
use crate::report::{figure, number};

/// How many sockets.
const SOCKETS: usize = 1_000;
/// Long enough for whatever opening them left behind.
const CALM: Duration = Duration::from_secs(1);

/// Compares the process with and without them.
pub(crate) async fn measure(program: &Path) {
    let data = machine::new_folder();
    let carillon = Carillon::start(program, data.path()).await;
    // The first few load code and fill pools, which is no cost of theirs.
    drop(Audience::open(&carillon, 10).await);
    tokio::time::sleep(CALM).await;
    let none = f64::from(carillon.resident_kib());
    let audience = Audience::open(&carillon, SOCKETS).await;
    tokio::time::sleep(CALM).await;
    let many = f64::from(carillon.resident_kib());
    drop(audience);
    carillon.stop().await;

    figure("memory without sockets", number(none / 1_024.0, 1), "MiB", "VmRSS after ten sockets came and went");
    figure("memory with 1,000 idle sockets", number(many / 1_024.0, 1), "MiB", "VmRSS a second after they opened");
    figure("memory a socket", number((many - none) / SOCKETS as f64, 1), "KiB", "the difference");
}
