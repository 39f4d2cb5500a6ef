//! What is known after a restart: everything that was on stable storage.

use std::path::Path;

use agent_sla::protocol::parameters::Era;
use tracing::{info, warn};

use super::bindings::Bindings;
use super::sessions::Binding;
use super::{Config, OracleError};
use crate::canary::ERAS_KEPT as CANARIES_KEPT;
use crate::log::Log;
use crate::record::Record;
use crate::reports::Reports;
use crate::state::{HISTORY_MAX, State};
use crate::tally::Phase;

/// What was found in the folder.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) eras: Log,
    pub(super) nodes: Log,
    pub(super) reports: Reports,
    pub(super) bindings: Bindings,
}

/// Reads the folder of an oracle.
pub(super) fn restart(folder: &Path, config: &Config) -> Result<Found, OracleError> {
    let now = config.clock.now_ms();
    let mut state = State::default();
    let nodes = Log::open(&folder.join("nodes"))?;
    let torn = nodes.read(0, |_, payload| {
        if let Ok(Binding { daemon, node }) = serde_json::from_slice(payload) {
            state.known(daemon, node, now);
        }
    })?;
    if torn > 0 {
        warn!(bytes = torn, "cut off what a stop in the middle left of the list of nodes");
        nodes.cut(0, torn)?;
    }
    let (reports, heads) = Reports::open(&folder.join("reports"), config.reports_max)?;
    for (daemon, (node, head)) in heads {
        // A daemon that speaks for another node meanwhile has its reports still to deliver.
        if let Some(known) = state.node_mut(&daemon).filter(|known| known.id == node) {
            known.delivery.delivered = Some(head.sequence);
            known.delivery.head = Some(head);
        }
    }
    let eras = Log::open(&folder.join("eras"))?;
    replay(&eras, &mut state, now)?;
    let waiting = state.books.values().filter(|book| book.phase != Phase::Closed).count();
    info!(nodes = state.daemons().len(), eras_without_votes = waiting, "known from before");
    let bindings = Bindings::open(&folder.join("bindings"))?;
    Ok(Found { state, eras, nodes, reports, bindings })
}

/// Reads the last eras: those that are not closed go on, of the others their canaries and what the page
/// shows are kept.
fn replay(eras: &Log, state: &mut State, now: u64) -> Result<(), OracleError> {
    let files = eras.files()?;
    let shown = HISTORY_MAX.max(usize::try_from(CANARIES_KEPT).unwrap_or(0) + 2);
    let skipped = files.len().saturating_sub(shown);
    for (number, file) in files.iter().enumerate().skip(skipped) {
        let era = Era(*file);
        let mut strange = 0_u32;
        let torn = eras.read(*file, |_, payload| match Record::from_bytes(payload) {
            Ok(record) => state.apply(era, record),
            Err(_) => strange += 1,
        })?;
        if strange > 0 {
            warn!(%era, records = strange, "records that this version does not know are passed over");
        }
        // Two eras can be written at once: the one that runs, and the one before it in its grace.
        if torn > 0 && number + 2 >= files.len() {
            warn!(%era, bytes = torn, "cut off what a stop in the middle left of an era");
            eras.cut(*file, torn)?;
        } else if torn > 0 {
            warn!(%era, bytes = torn, "an era is damaged; it gets no more votes");
            state.books.entry(era).or_default().phase = Phase::Closed;
        }
        let Some(book) = state.books.get_mut(&era) else { continue };
        if book.phase == Phase::Closed {
            state.closed(era);
            continue;
        }
        // The time that the oracle was away is not the nodes'.
        for tally in book.nodes.values_mut() {
            if let Some((_, at)) =
                tally.challenge.as_mut().and_then(|opened| opened.beacon.as_mut())
            {
                *at = now;
            }
        }
    }
    Ok(())
}
