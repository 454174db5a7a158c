//! Libraries that know API Gateway or RFC 6455, but not Carillon.

use harness::World;

use crate::program::{Tool, program, run};

#[tokio::test]
async fn websockets_and_boto3_work_as_with_api_gateway() {
    if Tool::Python.is_skipped() {
        return;
    }
    let world = World::new().await;
    let url = format!("http://{}", world.address());
    let printed = run(program(Tool::Python, &["tests/examples/compat.py", &url], &url)).await;
    assert_eq!(printed.len(), 9, "{printed:?}");
    assert!(printed.iter().all(|line| line.starts_with("ok ")), "{printed:?}");
    world.stops().await;
}
