//! Pushes the newest report to every client. Each client has a thread that waits for the next
//! report; a slow one misses those in between and holds up nobody.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use disk_manager_plan::report::DiskReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most clients at one time; the agent is the only one on a node, a person adds a few.
const MAX_CLIENTS: usize = 16;
/// How long a client may leave a report unread before it is cut off.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How often a thread without news looks whether its client is still there.
const HANG_UP_CHECK: Duration = Duration::from_secs(5);

/// The newest report, for all threads.
#[derive(Debug, Default)]
pub struct Board {
    newest: Mutex<Posted>,
    posted: Condvar,
}

#[derive(Debug, Default, Clone)]
struct Posted {
    number: u64,
    line: Arc<[u8]>,
}

impl Board {
    /// Makes a report the newest.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn post(&self, report: &DiskReport) -> Result<(), serde_json::Error> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.number += 1;
        newest.line = line.into();
        drop(newest);
        self.posted.notify_all();
        Ok(())
    }

    /// The newest report, once there is one other than number `seen`; `None` after a while without.
    fn next(&self, seen: u64) -> Option<Posted> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (newest, _) = self
            .posted
            .wait_timeout_while(newest, HANG_UP_CHECK, |newest| newest.number == seen)
            .unwrap_or_else(PoisonError::into_inner);
        (newest.number != seen).then(|| newest.clone())
    }
}

/// Listens on `socket`, which the group `group` may connect to.
///
/// # Errors
/// The socket cannot be made.
pub fn start(socket: &Path, group: u32, board: Arc<Board>) -> io::Result<()> {
    let listener = listen(socket, group)?;
    thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || accept(&listener, &board, Some(WRITE_LIMIT)))?;
    Ok(())
}

/// A socket that only root and the group `group` may connect to, in place of what lies there.
///
/// # Errors
/// It cannot be made.
pub fn listen(socket: &Path, group: u32) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made beside and renamed, so that no one connects before the permissions are set.
    let hidden = socket.with_extension("new");
    let _ = fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o660))?;
    chown(&hidden, None, Some(group))?;
    fs::rename(&hidden, socket)?;
    Ok(listener)
}

/// Serves whoever connects; none as `write_limit` never cuts off a client that leaves a report unread.
fn accept(listener: &UnixListener, board: &Arc<Board>, write_limit: Option<Duration>) {
    let clients = Arc::new(());
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if Arc::strong_count(&clients) > MAX_CLIENTS {
            tracing::warn!("too many clients: one is turned away");
            continue;
        }
        let (board, client) = (Arc::clone(board), Arc::clone(&clients));
        let serve = move || {
            // A client that goes away ends its thread; there is nobody to tell.
            let _ = serve(stream, &board, write_limit);
            drop(client);
        };
        if let Err(error) = thread::Builder::new().name("client".to_owned()).spawn(serve) {
            tracing::warn!(%error, "cannot serve a client");
        }
    }
}

fn serve(mut stream: UnixStream, board: &Board, write_limit: Option<Duration>) -> io::Result<()> {
    stream.set_write_timeout(write_limit)?;
    let mut seen = 0;
    while !has_hung_up(&stream)? {
        if let Some(posted) = board.next(seen) {
            stream.write_all(&posted.line)?;
            seen = posted.number;
        }
    }
    Ok(())
}

fn has_hung_up(stream: &UnixStream) -> io::Result<bool> {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec::default()))?;
    let [fd] = fds;
    Ok(fd.revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::sync::mpsc;

    use super::*;

    /// What takes so long hangs, on a busy machine as well.
    const HANG: Duration = Duration::from_secs(60);

    fn report(generation: u64) -> DiskReport {
        DiskReport { version: 1, generation, ..DiskReport::default() }
    }

    fn read(reader: &mut impl BufRead) -> u64 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str::<DiskReport>(&line).unwrap().generation
    }

    #[test]
    fn a_client_gets_the_newest_report_at_once_and_each_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("disks.sock");
        let board = Arc::new(Board::default());
        board.post(&report(1)).unwrap();
        board.post(&report(2)).unwrap();
        let group = rustix::process::getgid().as_raw();
        start(&socket, group, Arc::clone(&board)).unwrap();

        let mut client = BufReader::new(UnixStream::connect(&socket).unwrap());
        assert_eq!(read(&mut client), 2);
        board.post(&report(3)).unwrap();
        assert_eq!(read(&mut client), 3);
    }

    #[test]
    fn a_client_that_never_reads_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("disks.sock");
        let board = Arc::new(Board::default());
        let listener = listen(&socket, rustix::process::getgid().as_raw()).unwrap();
        let served = Arc::clone(&board);
        // Without a limit, what waits for the idle client waits for ever.
        thread::spawn(move || accept(&listener, &served, None));
        let idle = UnixStream::connect(&socket).unwrap();
        let long = DiskReport { problems: vec!["x".repeat(1 << 20)], ..report(1) };
        board.post(&long).unwrap();
        // Its beginning is there; the rest fits into no buffer of a socket.
        idle.set_read_timeout(Some(HANG)).unwrap();
        (&idle).read_exact(&mut [0]).unwrap();

        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for generation in 2..=20 {
                board.post(&report(generation)).unwrap();
            }
            let mut client = BufReader::new(UnixStream::connect(&socket).unwrap());
            sender.send(read(&mut client)).unwrap();
        });
        assert_eq!(receiver.recv_timeout(HANG), Ok(20));
    }
}
