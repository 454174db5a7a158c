//! The time from the start of the gateway process until it prints `ready`.

use std::path::Path;

use crate::carillon::Carillon;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, in_ms, spread};

/// Starts on new and on existing data, which take turns.
const STARTS: usize = 10;
/// Sends to 200 recipients each that make up the existing data.
const SENDS: usize = 50;

/// Starts on new data folders, and on one with existing data.
pub(crate) async fn measure(program: &Path) {
    let used = machine::new_folder();
    let carillon = Carillon::start(program, used.path()).await;
    let mut service = Service::connect(&carillon).await;
    let users: Vec<String> = (0..200).map(|n| format!("absent-{n}")).collect();
    for _ in 0..SENDS {
        service.sends(body(&users)).await;
    }
    drop(service);
    carillon.stop().await;

    let (mut on_new, mut on_used) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let new = machine::new_folder();
        for (folder, taken) in [(&new, &mut on_new), (&used, &mut on_used)] {
            let carillon = Carillon::start(program, folder.path()).await;
            taken.push(carillon.ready_after);
            carillon.stop().await;
        }
    }
    let name = "start to ready, ";
    let how = format!("{STARTS} starts");
    figure(&format!("{name}new data"), spread(&in_ms(&on_new), 1), "ms", &how);
    let how = format!("{STARTS} starts on 10,000 notifications, after a clean stop");
    figure(&format!("{name}existing data"), spread(&in_ms(&on_used), 1), "ms", &how);
}
