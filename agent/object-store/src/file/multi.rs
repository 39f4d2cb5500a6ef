//! The parts that hold the body of an object. They live for as long as the object or a reader of
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::volume::VolumeIo;
use crate::names::UploadId;

/// The folder of a completed upload. When the object is gone and the last reader has finished, the
/// folder is removed.
#[derive(Debug)]
pub(crate) struct Multi {
    io: Arc<VolumeIo>,
    pub(crate) upload: UploadId,
    doomed: AtomicBool,
}

impl Multi {
    pub(crate) fn new(io: Arc<VolumeIo>, upload: UploadId) -> Self {
        Self { io, upload, doomed: AtomicBool::new(false) }
    }

    /// Says that the object is durably gone, so the parts may go.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for Multi {
    fn drop(&mut self) {
        if !self.doomed.load(Ordering::Acquire) {
            return;
        }
        let (io, upload) = (Arc::clone(&self.io), self.upload.clone());
        let remove = move || {
            // What stays behind is removed when the volume is attached next.
            if let Err(error) = io.remove_upload_dir(&upload) {
                tracing::debug!(%error, "parts of a removed object stay behind");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
