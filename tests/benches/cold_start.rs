//! The part of a cold start that is up to the function: from the `exec` of its binary until it requests its first
//! event. A bare handler is the lower bound.

use std::path::PathBuf;
use std::time::Duration;

use harness::binaries;
use harness::sandbox::{init, required_variables};

use crate::build;
use crate::report::{figure, in_ms, spread};

/// Starts of each binary. They take turns, so that other load on the machine affects all of them alike.
const STARTS: usize = 20;

/// Starts each function with its variables but without servers, because functions connect at their first call.
pub(crate) async fn measure() {
    let mut programs = vec![("bare".to_owned(), PathBuf::from(env!("CARGO_BIN_EXE_bare")))];
    programs.extend(binaries::functions().into_iter().map(|name| (name.clone(), build::release(&name, &name))));

    let mut taken: Vec<Vec<Duration>> = vec![Vec::new(); programs.len()];
    for start in 0..=STARTS {
        for ((_, program), taken) in programs.iter().zip(&mut taken) {
            let init = init(program, &required_variables()).await;
            // The first start reads the binary from the disk.
            if start > 0 {
                taken.push(init);
            }
        }
    }
    for ((name, _), taken) in programs.iter().zip(&taken) {
        let how = format!("exec to the first poll, {STARTS} starts with warm files");
        figure(&format!("cold start of {name}"), spread(&in_ms(taken), 1), "ms", &how);
    }
}
