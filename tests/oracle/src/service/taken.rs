//! Reports that are taken.

use agent_sla::protocol::messages::{DeliverReports, REPORTS_MAX, Refusal, ReportsTaken};
use agent_sla::protocol::report::{Facts, SentReport};

use super::sessions::bad;
use super::{Oracle, busy, malformed};
use crate::reports::{Reports, Stored, head};
use crate::state::Speaker;

impl Oracle {
    /// Takes reports. Those that are there already are passed over. Other parameters than today's are no
    /// reason to refuse one: it was signed when they counted.
    ///
    /// # Errors
    /// One of them is not what it should be; then none is taken.
    pub async fn take_reports(
        &self,
        speaker: Speaker,
        sent: DeliverReports,
    ) -> Result<ReportsTaken, Refusal> {
        let gate = self.gate(&speaker)?;
        let _one_after_the_other = gate.lock().await;
        let known = self.state().node(&speaker.daemon).and_then(|node| node.delivery.delivered);
        let fresh = self.fresh(&speaker, sent.reports, known)?;
        let (now, log) = (self.now_ms(), self.reports.log());
        let mut pending = Vec::with_capacity(fresh.len());
        for (report, facts) in fresh {
            let stored = Stored { daemon: speaker.daemon, received_at: now, report };
            let bytes = serde_json::to_vec(&stored).map_err(|e| malformed(e.to_string()))?;
            let turn = log.turn().await.map_err(|_| busy())?;
            let waits = turn.append(Reports::hour(now), &bytes).map_err(|_| busy())?;
            pending.push((waits, stored.report, facts));
        }
        let mut last = None;
        for (waits, report, facts) in pending {
            let place = waits.wait().await.map_err(|_| busy())?;
            last = Some(head(&report, &facts, now, place));
        }
        let mut state = self.state();
        let node = state.node_mut(&speaker.daemon).ok_or(Refusal::NoSession)?;
        if let Some(last) = last {
            node.delivery.delivered = Some(last.sequence);
            node.delivery.head = Some(last);
        }
        let delivered = node.delivery.delivered.ok_or_else(|| malformed("no report"))?;
        Ok(ReportsTaken { delivered })
    }

    /// The reports that are not there yet, verified.
    fn fresh(
        &self,
        speaker: &Speaker,
        reports: Vec<SentReport>,
        known: Option<u64>,
    ) -> Result<Vec<(SentReport, Facts)>, Refusal> {
        if reports.len() > REPORTS_MAX {
            return Err(malformed(format!("{} reports, more than {REPORTS_MAX}", reports.len())));
        }
        let domain = self.config.parameters.domain();
        let (mut before, mut fresh) = (None, Vec::new());
        for report in reports {
            let said = &report.signed.message;
            let sequence = said.sequence;
            if before.is_some_and(|before| before >= sequence) {
                return Err(malformed(format!("report {sequence} is out of order")));
            }
            before = Some(sequence);
            if known.is_some_and(|known| known >= sequence) {
                continue;
            }
            if said.nodeId != speaker.node {
                return Err(malformed(format!("report {sequence} is of node {}", said.nodeId)));
            }
            let signed = report.signed.verify(&domain, speaker.daemon);
            signed.map_err(|error| bad(format!("report {sequence}: {error}")))?;
            let facts = report.facts();
            let facts = facts.map_err(|error| malformed(format!("report {sequence}: {error}")))?;
            fresh.push((report, facts));
        }
        Ok(fresh)
    }

    /// Held while one of a node's requests is dealt with.
    pub(super) fn gate(
        &self,
        speaker: &Speaker,
    ) -> Result<std::sync::Arc<tokio::sync::Mutex<()>>, Refusal> {
        let state = self.state();
        state.node(&speaker.daemon).map(|node| node.gate.clone()).ok_or(Refusal::NoSession)
    }
}
