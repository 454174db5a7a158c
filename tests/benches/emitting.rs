//! Emitting to all who are there: a hundred thousand registered connections, whose management API only counts, and five
//! thousand real sockets.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use bytes::Bytes;
use harness::http::call;
use harness::postgres_server::{self, without_timeout};
use harness::{TestApp, redis_server};
use http::Response;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::delivery::work::{EmitPage, EmitWork};
use shared::emit::draft::Draft;
use shared::emit::telling;
use shared::ids::UserId;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;
use shared::sockets::api_gateway::ApiGatewayPush;
use tokio::net::TcpListener;

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::client::token;
use crate::machine;
use crate::report::{figure, in_ms, number, percentile, spread};
use crate::stores::Stores;

/// The real sockets, each of a user of its own.
const SOCKETS: usize = 5_000;
/// How often an event is emitted to them.
const ROUNDS: usize = 5;
/// The registered connections that nothing is behind.
const ROWS: usize = 100_000;
/// Registers them over two hours, the time that a socket lasts at most.
const FILL: &str = "
    INSERT INTO connections (id, user_id, connected_at, token_expires_at)
    SELECT 'connection-' || n, 'listener ' || n, now_ms - 7200000 + n * 72, now_ms + 86400000
      FROM generate_series(1, 100000) n, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now_ms) clock";

/// Measures both on these stores: the rows only on servers.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    to_sockets(program, stores).await;
    if matches!(stores, Stores::Servers) {
        to_rows().await;
    }
}

async fn to_sockets(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut audience = Audience::open(&carillon, SOCKETS).await;
    let authorization = format!("Bearer {}", token(carillon.address, "ops", "notify:admin").await);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (cpu, began) = (carillon.cpu(), Instant::now());
        let (_, last_at) = tokio::join!(emit(&carillon, &authorization), audience.receives(SOCKETS));
        rates.push(SOCKETS as f64 / (last_at - began).as_secs_f64());
        costs.push((carillon.cpu() - cpu).as_secs_f64() * 1e6 / SOCKETS as f64);
    }
    drop(audience);
    carillon.stop().await;
    let name = stores.named(&format!("emitted to all, {} sockets", number(SOCKETS as f64, 0)));
    figure(&name, spread(&rates, 0), "1/s", &format!("from the call until the last frame is read; {ROUNDS} rounds"));
    figure(&format!("{name}, cpu"), spread(&costs, 0), "us/frame", "user and system time of the gateway");
}

async fn emit(carillon: &Carillon, authorization: &str) {
    let headers = [("authorization", authorization), ("content-type", "application/json")];
    let event = json!({"type": "system", "name": "maintenance", "title": "Back in five minutes"}).to_string();
    call(carillon.address, "POST", "/api/events/emit", &headers, event).await.expect(202);
}

/// Pushes one event to all rows, page by page as the drain does.
async fn to_rows() {
    let database = postgres_server::database().await;
    postgres_server::does(&without_timeout(&database), FILL).await;
    postgres_server::does(&without_timeout(&database), "VACUUM ANALYZE").await;
    let mut test = TestApp::new().await;
    let moment = RedisMoment::with_timeout(&redis_server::own_prefix(), Clock::system(), Duration::from_secs(30));
    test.uses_record(Arc::new(PostgresRecord::new(&database, 10).unwrap()));
    test.uses_moment(Arc::new(moment.unwrap()));
    test.app.clock = Clock::system();
    let posts = Arc::new(AtomicUsize::new(0));
    test.app.push = Arc::new(counting(Arc::clone(&posts)).await);

    let Value::Object(event) = json!({"type": "system", "title": "Back in five minutes"}) else { unreachable!() };
    let draft = Draft::read(&UserId::new("ops").unwrap(), event, None).unwrap();
    test.app.moment.emitted.keep(draft.id, &draft.event, test.app.clock.at()).await.expect("Redis is there");
    let page = EmitPage::All { after: None, until_ms: test.app.clock.now_ms() };
    let mut next = Some(EmitWork { event: draft.id, page, trace: None });
    let (mut pages, began) = (Vec::new(), Instant::now());
    while let Some(work) = next {
        let page_began = Instant::now();
        next = telling::tell_page(&test.app, &work).await.unwrap();
        pages.push(page_began.elapsed());
    }
    let took = began.elapsed();
    let posts = posts.load(Ordering::Relaxed);
    assert_eq!(posts, ROWS, "WRONG: each connection is pushed to once");

    let name = format!("servers: emitted to all, {} rows", number(ROWS as f64, 0));
    let how = "this process alone: pages, pushes, and the management API that counts them";
    figure(&name, number(ROWS as f64 / took.as_secs_f64(), 0), "1/s", how);
    let full = &in_ms(&pages[..ROWS / telling::MAX_CONNECTIONS]);
    for (label, pages) in [("first", &full[..10]), ("last", &full[full.len() - 10..])] {
        let how = format!("a page of {}; of ten pages", telling::MAX_CONNECTIONS);
        figure(&format!("{name}, {label} pages, p50"), number(percentile(pages, 0.5), 0), "ms", &how);
    }
}

/// The client of a management API that accepts and counts everything.
async fn counting(posts: Arc<AtomicUsize>) -> ApiGatewayPush {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/live", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let posts = Arc::clone(&posts);
            let service = service_fn(move |_: http::Request<Incoming>| {
                posts.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    let credentials = Credentials::new("local", "local", None, None, "local");
    ApiGatewayPush::new(&endpoint, "eu-central-1".into(), credentials)
}
