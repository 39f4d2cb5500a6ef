//! Hears of disks that come, change and go: udev's monitor on a thread of its own.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

/// Starts to listen; `heard` is called with the kernel name of each block device that udev is done
/// with. Where this ends early, the periodic look at sysfs goes on without it.
///
/// # Errors
/// The thread cannot be started.
pub fn start(heard: impl Fn(String) -> bool + Send + 'static) -> io::Result<()> {
    let listen = move || {
        if let Err(error) = listen(&heard) {
            tracing::error!(%error, "udev's monitor ended; disks are noticed by looking only");
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(listen)?;
    Ok(())
}

/// Listens until `heard` says that no one wants to know any more.
fn listen(heard: &dyn Fn(String) -> bool) -> io::Result<()> {
    let socket = udev::MonitorBuilder::new()?.match_subsystem("block")?.listen()?;
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in socket.iter() {
            // A partition's event concerns its disk, which is the folder above in sysfs.
            let is_part = event.devtype().is_some_and(|kind| kind == "partition");
            let path = event.syspath();
            let disk = if is_part { path.parent() } else { Some(path) };
            let name = disk.and_then(|path| path.file_name()).and_then(|name| name.to_str());
            if name.is_some_and(|name| !heard(name.to_owned())) {
                return Ok(());
            }
        }
    }
}
