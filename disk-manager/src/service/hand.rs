//! The service's part of claims by hand: it judges a request by all disks of that moment, has disks erased when their
//! time has come, and sees how their ordinary claims end.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use disk_manager_plan::by_hand::{self, Refused};
use disk_manager_plan::report::{DiskId, Ownership};
use disk_manager_plan::{Inventory, Plan, Policy, plan};
use tracing::{info, warn};

use super::known::Work;
use super::{Event, Service, spawn};
use crate::apply::ApplyError;
use crate::device::Presence;
use crate::hardware::{Hand, HandRequest};
use crate::mounts::InUse;

/// How long the service may take to answer: it waits for no disk.
const ANSWER: Duration = Duration::from_secs(20);

/// Has the service decide about requests.
pub(super) fn asking(events: SyncSender<Event>) -> Hand {
    Hand::new(move |request| {
        let (sender, answer) = sync_channel(1);
        let gone = |_| "icn-disks is stopping: try again".to_owned();
        events.send(Event::Hand(request, sender)).map_err(|error| gone(error.to_string()))?;
        let late = "icn-disks did not decide in time: look at the disk before it is tried again";
        answer.recv_timeout(ANSWER).map_err(|_| late.to_owned())?
    })
}

/// Which of these disks cannot be judged now, and which may not be erased, with why.
fn judge(
    inventory: &Inventory,
    policy: &Policy,
    disks: Vec<DiskId>,
) -> (Vec<DiskId>, Vec<(DiskId, String)>) {
    let plan = plan(inventory, policy);
    let (mut unsettled, mut refused) = (Vec::new(), Vec::new());
    for disk in disks {
        match by_hand::check_again(inventory, &plan, policy, &disk) {
            Ok(_) => {}
            // It is being looked at again, or gone, which is told of elsewhere.
            Err(Refused::Looking | Refused::Unknown { .. }) => unsettled.push(disk),
            Err(why) => refused.push((disk, why.to_string())),
        }
    }
    (unsettled, refused)
}

impl Service {
    /// Decides about a request.
    pub(super) fn decide_by_hand(
        &mut self,
        request: &HandRequest,
        now: Instant,
    ) -> Result<(), String> {
        match request {
            HandRequest::Undo { disk } => {
                self.by_hand.undo(disk)?;
                info!(id = disk.0, "a claim by hand was taken back");
                Ok(())
            }
            HandRequest::Claim { disk, serial_end, smart } => {
                let in_use = InUse::read(&self.context.sysfs);
                let in_use =
                    in_use.map_err(|error| format!("what is in use is not known: {error}"))?;
                let inventory = self.inventory(&in_use, now);
                let plan = plan(&inventory, &self.context.policy);
                let typed = (serial_end.as_str(), smart);
                let wanted = by_hand::check(&inventory, &plan, &self.context.policy, disk, typed)
                    .map_err(|refused| refused.to_string())?;
                let known = self.disks.values().find(|known| {
                    known.seen.as_ref().is_some_and(|seen| seen.id.as_ref() == Some(disk))
                });
                let known = known.ok_or("the disk is gone")?;
                if known.work.is_some() {
                    return Err("something is being done with it: try again in a minute".to_owned());
                }
                self.by_hand.ask(disk.clone(), known.presence.clone(), wanted, now)?;
                warn!(
                    id = disk.0,
                    "a disk that is not blank is claimed by hand: it is erased in a minute"
                );
                Ok(())
            }
        }
    }

    /// Starts to erase disks whose time has come.
    pub(super) fn start_erasing(&mut self, now: Instant) {
        let unsettled = self.judge_coming(now);
        let disks = &self.disks;
        // A look that is under way would be of what is no more.
        let is_free = |disk: &DiskId, presence: &Presence| {
            if unsettled.contains(disk) {
                return false;
            }
            let known = disks.get(&presence.name).filter(|known| known.presence == *presence);
            known.is_some_and(|known| known.is_ready(now, false))
        };
        for due in self.by_hand.due(now, is_free) {
            let Some(disk) = self.disks.get_mut(&due.presence.name) else { continue };
            // Nobody looks at it meanwhile, and nothing else is done with it.
            disk.work = Some(Work::Other);
            warn!(
                disk = due.presence.name,
                id = due.disk.0,
                "a disk that is claimed by hand is erased"
            );
            let (context, sender) = (self.context.clone(), self.sender.clone());
            let eraser = Arc::clone(&self.eraser);
            spawn(format!("erase {}", due.presence.name), move || {
                let result = eraser(&context, &due.presence, &due.wanted);
                let _ = sender.send(Event::Erased(due.presence, result));
            });
        }
    }

    /// Ends claims whose time has come of disks that may not be erased any more: what was right a minute ago need not be so
    /// now. Tells which cannot be judged now.
    fn judge_coming(&mut self, now: Instant) -> Vec<DiskId> {
        let coming = self.by_hand.coming(now);
        if coming.is_empty() {
            return coming;
        }
        let Ok(in_use) = InUse::read(&self.context.sysfs) else { return coming };
        let inventory = self.inventory(&in_use, now);
        let (unsettled, refused) = judge(&inventory, &self.context.policy, coming);
        for (disk, why) in refused {
            warn!(id = disk.0, why, "a disk that was claimed by hand is not erased");
            self.by_hand.refuse(&disk, &why);
            self.changed = true;
        }
        unsettled
    }

    /// Takes the end of an erasure, and asks for a look at what came of it.
    pub(super) fn end_erasing(
        &mut self,
        presence: &Presence,
        result: Result<(), ApplyError>,
        now: Instant,
    ) {
        let result = result.map_err(|error| error.to_string());
        match &result {
            Ok(()) => info!(disk = presence.name, "erased"),
            Err(error) => warn!(disk = presence.name, error, "not erased"),
        }
        self.by_hand.erased(presence, result);
        if let Some(disk) = self.present_mut(presence) {
            disk.end_work(None, now);
            // What was seen of it is no more.
            disk.seen = None;
        }
        self.changed = true;
    }

    /// Ends claims whose disk is ours now, or will not be.
    pub(super) fn settle_by_hand(&mut self, inventory: &Inventory, plan: &Plan) {
        let disks = &self.disks;
        let judged = |id: &DiskId| {
            let mut judged = inventory.disks.iter().zip(&plan.judgements);
            judged.find(|(disk, _)| disk.id.as_ref() == Some(id)).map(|(_, judgement)| judgement)
        };
        self.by_hand.settle(|id, presence| {
            let known = disks.get(&presence.name).filter(|known| known.presence == *presence)?;
            if known.work.is_some() || known.seen.is_none() {
                return None;
            }
            if known.is_given_up() {
                let why = known.trouble.as_ref().map(|trouble| trouble.words.clone());
                return Some(Err(format!("it cannot be claimed: {}", why.unwrap_or_default())));
            }
            let judgement = judged(id)?;
            match judgement.ownership {
                Ownership::Ours if judgement.ours.is_some_and(|(_, state)| state.is_ready()) => {
                    Some(Ok(()))
                }
                Ownership::Ours | Ownership::Blank => None,
                Ownership::Foreign | Ownership::Boot | Ownership::Failing => {
                    let why: Vec<_> = judgement.reasons.iter().map(ToString::to_string).collect();
                    Some(Err(format!("it cannot be claimed: {}", why.join("; "))))
                }
            }
        });
    }
}

#[cfg(test)]
#[path = "hand_tests.rs"]
mod tests;
