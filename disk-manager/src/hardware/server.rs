//! The socket: a thread for each client, one request at a time on each.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use disk_manager_plan::hardware::{ANSWER_MAX, Answer, REQUEST_MAX, Request};

use super::desk::{Desk, failed};
use crate::serve::listen;

/// The most clients at one time: one for each disk of the largest chassis, of which each may hang, and
/// some for the rest.
pub(super) const MAX_CLIENTS: usize = 128;

/// How long a client may take to ask, and to take its answer, before it is cut off.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);

/// Listens on `socket`, which the group `group` may connect to.
///
/// # Errors
/// The socket cannot be made.
pub fn start(socket: &Path, group: u32, desk: Desk) -> io::Result<()> {
    let listener = listen(socket, group)?;
    let accept = move || accept(&listener, &desk);
    thread::Builder::new().name("hardware".to_owned()).spawn(accept)?;
    Ok(())
}

fn accept(listener: &UnixListener, desk: &Desk) {
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
            tracing::warn!("too many clients ask for readings: one is turned away");
            continue;
        }
        let (desk, client) = (desk.clone(), Arc::clone(&clients));
        let serve = move || {
            // A client that goes away ends its thread; there is nobody to tell.
            let _ = serve(&stream, &desk);
            drop(client);
        };
        if let Err(error) = thread::Builder::new().name("reading".to_owned()).spawn(serve) {
            tracing::warn!(%error, "cannot serve a client");
        }
    }
}

fn serve(stream: &UnixStream, desk: &Desk) -> io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_LIMIT))?;
    stream.set_write_timeout(Some(CLIENT_LIMIT))?;
    let mut reader = BufReader::new(stream);
    while let Some(line) = next_line(&mut reader)? {
        let mut writer = stream;
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(Request::WriteSupport { name, length }) => match desk.find_stick(&name, length) {
                Ok(stick) => {
                    writer.write_all(&line_of(&Answer::Ready)?)?;
                    let mut bytes = reader.by_ref().take(length);
                    let answer = stick.take(&mut bytes);
                    // What was not written is passed over, so that the answer can be read.
                    io::copy(&mut bytes, &mut io::sink())?;
                    answer
                }
                Err(reason) => failed(reason),
            },
            Ok(request) => desk.answer(&request),
            Err(error) => failed(format!("not a request: {error}")),
        };
        writer.write_all(&line_of(&answer)?)?;
    }
    Ok(())
}

/// The next request; none when the client has ended or asks with more than a request may have.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    reader.take(most).read_until(b'\n', &mut line)?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

/// An answer as a line of at most [`ANSWER_MAX`] bytes.
fn line_of(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    if line.len() >= ANSWER_MAX {
        line = serde_json::to_vec(&failed("the answer is too long".to_owned()))?;
    }
    line.push(b'\n');
    Ok(line)
}
