//! The memory that a thousand idle sockets take.

use std::path::Path;
use std::time::Duration;

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::machine;
use crate::report::{figure, number};

/// The number of sockets.
const SOCKETS: usize = 1_000;
/// Long enough for the work of opening sockets to end.
const CALM: Duration = Duration::from_secs(1);

/// Compares the memory of the process with and without sockets.
pub(crate) async fn measure(program: &Path) {
    let data = machine::new_folder();
    let carillon = Carillon::start(program, data.path()).await;
    // The first sockets load code and fill pools, which must not count as memory per socket.
    drop(Audience::open(&carillon, 10).await);
    tokio::time::sleep(CALM).await;
    let none = f64::from(carillon.resident_kib());
    let audience = Audience::open(&carillon, SOCKETS).await;
    tokio::time::sleep(CALM).await;
    let many = f64::from(carillon.resident_kib());
    drop(audience);
    carillon.stop().await;

    figure("memory without sockets", number(none / 1_024.0, 1), "MiB", "VmRSS after ten sockets closed again");
    figure("memory with 1,000 idle sockets", number(many / 1_024.0, 1), "MiB", "VmRSS a second after they opened");
    figure("memory per socket", number((many - none) / SOCKETS as f64, 1), "KiB", "the difference");
}
