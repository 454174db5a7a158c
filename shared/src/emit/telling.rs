//! The way of an emitted event to the sockets: to a few users in the call, to more of them page by page, as work of the
//! drain.

use serde_json::value::RawValue;

use crate::app::App;
use crate::delivery::queue::Entry;
use crate::delivery::work::{EmitPage, EmitWork, Work};
use crate::emit::draft::Draft;
use crate::emit::{Addressees, Kept};
use crate::error::{Error, StoreError};
use crate::ids::UserId;
use crate::protocol::Frame;
use crate::sockets::outgoing::{self, Outgoing, PushResult};
use crate::sockets::push::MAX_AT_ONCE;
use crate::telemetry::{Hint, Report, invocation};

/// The most users whose sockets the call itself pushes to.
const MAX_TOLD_AT_ONCE: usize = 20;
/// The most users of one piece of work.
const MAX_USERS: usize = 200;
/// The most connections that one piece of work pushes to if the event is for all.
pub const MAX_CONNECTIONS: usize = 1_000;

/// Emits an event, unless it is a repeat: keeps it for those who sync, pushes it or leaves that to the drain, and tells other
/// programs.
pub async fn emit(app: &App, draft: &Draft) -> Result<(), Error> {
    let at = app.clock.at();
    if app.moment.emitted.keep(draft.id, &draft.event, at).await == Some(Kept::Before) {
        return Ok(());
    }
    let hint = Hint::Emitted { id: draft.id, kind: draft.kind.name(), name: draft.name.as_deref() };
    let report = Report { hints: vec![hint], ..Report::default() };
    let (told, ()) = tokio::join!(tell(app, draft), app.moment.telemetry.report(&report, at));
    told
}

/// Pushes an event to the event streams of its users, and to no other device: it is not kept for those who sync. Returns how
/// many streams took it.
pub async fn emit_to_streams(app: &App, event: &RawValue, users: &[UserId]) -> Result<usize, Error> {
    let mut connections = app.record.connections.of(users, app.clock.at()).await?;
    connections.retain(|connection| connection.id.is_stream());
    let frame = Frame::from(event.get());
    let results = outgoing::push(app, &[Outgoing { frame, connections: &connections }]).await;
    Ok(results.into_iter().flatten().filter(|result| *result == PushResult::Offered).count())
}

async fn tell(app: &App, draft: &Draft) -> Result<(), Error> {
    let pages = match &draft.users {
        Some(users) if users.len() <= MAX_TOLD_AT_ONCE => {
            perform(app, &draft.event, &work(draft, EmitPage::Users(users.clone()))).await?;
            return Ok(());
        }
        Some(users) => users.chunks(MAX_USERS).map(|users| EmitPage::Users(users.to_vec())).collect(),
        None => vec![EmitPage::All { after: None, until_ms: app.clock.now_ms() }],
    };
    let works: Vec<EmitWork> = pages.into_iter().map(|page| work(draft, page)).collect();
    let entries: Vec<Entry> = works.iter().map(|work| Entry { work: Work::Emit(work.clone()), wait_ms: 0 }).collect();
    if app.enqueue_and_wake(&entries).await > 0 {
        // Nothing else would push it. Devices drop what they get twice by its id.
        for work in works {
            let mut next = Some(work);
            while let Some(work) = next {
                next = perform(app, &draft.event, &work).await?;
            }
        }
    }
    Ok(())
}

fn work(draft: &Draft, page: EmitPage) -> EmitWork {
    EmitWork { event: draft.id, page, trace: invocation::trace() }
}

/// Pushes an event that the moment keeps to a page of connections. Returns the next page, if there is one. An event that the
/// moment has lost goes no further.
pub async fn tell_page(app: &App, work: &EmitWork) -> Result<Option<EmitWork>, StoreError> {
    match app.moment.emitted.find(work.event, app.clock.at()).await {
        Some(event) => perform(app, &event, work).await,
        None => Ok(None),
    }
}

async fn perform(app: &App, event: &RawValue, work: &EmitWork) -> Result<Option<EmitWork>, StoreError> {
    let at = app.clock.at();
    let (connections, next) = match &work.page {
        EmitPage::Users(users) => {
            let (connections, ()) = tokio::join!(
                app.record.connections.of(users, at),
                app.moment.emitted.address(work.event, Addressees::Users(users), at)
            );
            (connections?, None)
        }
        EmitPage::All { after, until_ms } => {
            if after.is_none() {
                app.moment.emitted.address(work.event, Addressees::All, at).await;
            }
            let page = app.record.connections.page(after.as_ref(), *until_ms, MAX_CONNECTIONS, at).await?;
            let next = page.next.map(|after| EmitWork {
                event: work.event,
                page: EmitPage::All { after: Some(after), until_ms: *until_ms },
                trace: work.trace,
            });
            (page.connections, next)
        }
    };
    // What one push does not attempt is not repeated, so no push gets more than it attempts.
    for connections in connections.chunks(MAX_AT_ONCE) {
        let frame = Frame::from(event.get());
        outgoing::push(app, &[Outgoing { frame, connections }]).await;
    }
    Ok(next)
}
