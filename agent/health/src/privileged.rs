//! What needs privileges, as who takes readings sees it.

use std::path::PathBuf;
use std::time::Duration;

use disk_manager_plan::hardware::{Answer, Request};

use crate::ask::ask;

/// Somebody who may do what readings need privileges for.
pub trait Privileged: Send + Sync {
    /// Asks, and waits for the answer, at most for `limit`. Without one it is [`Answer::Failed`] with the reason.
    fn ask(&self, request: &Request, limit: Duration) -> Answer;
}

/// icn-disks, at its socket.
#[derive(Debug, Clone)]
pub struct HardwareSocket(pub PathBuf);

impl Privileged for HardwareSocket {
    fn ask(&self, request: &Request, limit: Duration) -> Answer {
        match ask(&self.0, request, limit) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed { reason: error.to_string() },
        }
    }
}
