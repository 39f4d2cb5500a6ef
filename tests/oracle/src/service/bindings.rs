//! What daemons said of whose they are: for their HPs to fetch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use agent_sla::protocol::Address;
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::settled::SignedBinding;
use tracing::warn;

use super::sessions::bad;
use super::{Oracle, busy};
use crate::log::{Log, LogError};

/// Bindings of strangers that are kept: anyone can make one.
const STRANGERS_MAX: usize = 1024;

/// The newest binding of each daemon that was ever admitted.
#[derive(Debug)]
pub(super) struct Bindings {
    log: Log,
    known: Mutex<BTreeMap<Address, SignedBinding>>,
    /// Of daemons that are not admitted, in memory alone: an HP has to have one before the chain can admit it.
    strangers: Mutex<BTreeMap<Address, SignedBinding>>,
}

impl Bindings {
    /// Those of a folder, which is made if it is not there.
    pub(super) fn open(folder: &Path) -> Result<Self, LogError> {
        let log = Log::open(folder)?;
        let mut known = BTreeMap::new();
        let torn = log.read(0, |_, payload| {
            if let Ok(binding) = serde_json::from_slice::<SignedBinding>(payload) {
                known.insert(binding.message.daemonAddress, binding);
            }
        })?;
        if torn > 0 {
            warn!(bytes = torn, "cut off what a stop in the middle left of the bindings");
            log.cut(0, torn)?;
        }
        Ok(Self { log, known: Mutex::new(known), strangers: Mutex::default() })
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn failed(&self) {
        self.log.failed().cancelled().await;
    }

    fn find(&self, daemon: &Address) -> Option<SignedBinding> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(daemon).cloned();
        known.or_else(|| {
            let strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            strangers.get(daemon).cloned()
        })
    }
}

impl Oracle {
    /// Keeps a binding that came with a session: for good where the daemon is admitted.
    ///
    /// # Errors
    /// It is of another daemon, or not signed by it; or it cannot be written.
    pub(super) async fn keep_binding(
        &self,
        daemon: Address,
        binding: SignedBinding,
        is_admitted: bool,
    ) -> Result<(), Refusal> {
        if binding.message.daemonAddress != daemon {
            return Err(bad("the binding is of another daemon"));
        }
        let signed = binding.verify(&self.config.parameters.domain(), daemon);
        signed.map_err(|error| bad(format!("binding: {error}")))?;
        if self.bindings.find(&daemon).is_some_and(|known| known.message == binding.message) {
            return Ok(());
        }
        if !is_admitted {
            let strangers = self.bindings.strangers.lock();
            let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
            strangers.insert(daemon, binding);
            if strangers.len() > STRANGERS_MAX {
                strangers.pop_first();
            }
            return Ok(());
        }
        let bytes = serde_json::to_vec(&binding).unwrap_or_default();
        self.bindings.log.append(0, &bytes).await.map_err(|_| busy())?;
        let mut known = self.bindings.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(daemon, binding);
        Ok(())
    }

    /// The newest binding of a daemon.
    ///
    /// # Errors
    /// It gave none.
    pub fn binding(&self, daemon: &Address) -> Result<SignedBinding, Refusal> {
        let what = "binding of this daemon".to_owned();
        self.bindings.find(daemon).ok_or(Refusal::Unknown { what })
    }
}
