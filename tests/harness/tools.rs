//! Tools that may be missing on a machine, so that some tests are skipped there.

/// Whether `tests/run` found this tool missing, which is then printed. With `CI=true`, nothing is skipped.
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
pub fn is_skipped(tool: &str) -> bool {
    let skipped = std::env::var("CARILLON_SKIP").unwrap_or_default();
    let is_skipped =
        skipped.split_whitespace().any(|name| name == tool) && std::env::var("CI").as_deref() != Ok("true");
    if is_skipped {
        println!("skipped: {tool} is missing");
    }
    is_skipped
}
