//! Asks icn-disks for what needs privileges (`disk_manager_plan::hardware`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use disk_manager_plan::hardware::{ANSWER_MAX, Answer, Request};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// icn-disks cannot be reached.
    #[error("cannot connect to {socket}; does icn-disks run?")]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The request could not be handed over.
    #[error("cannot send a request to icn-disks")]
    Send {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer could not be read.
    #[error("cannot read the answer of icn-disks")]
    Receive {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// None came in time.
    #[error("icn-disks gave no answer within {} s", limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It hung up; it does so when too many ask at a time.
    #[error("icn-disks hung up without an answer: too many ask it, or it was stopped")]
    HungUp,
    /// More than an answer may have.
    #[error("the answer of icn-disks is longer than {ANSWER_MAX} bytes")]
    TooLong,
    /// Nobody understands it.
    #[error("cannot understand the answer of icn-disks")]
    Malformed {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Puts one request to icn-disks at `socket` and waits for the answer, at most for `limit`, and longer than
/// the programs of icn-disks may take: up to 60 s for a disk, 180 s for the management controller. Blocks;
/// each request has a connection of its own, so that one that hangs holds up no other.
///
/// # Errors
/// There is no answer, or none that can be understood.
pub fn ask(socket: &Path, request: &Request, limit: Duration) -> Result<Answer, AskError> {
    let deadline = Instant::now() + limit;
    let stream = send(socket, request, deadline, limit)?;
    receive(&stream, deadline, limit)
}

/// As [`ask`], for a request that bytes follow: they are sent once icn-disks is ready for them. An answer that comes
/// instead is the answer.
///
/// # Errors
/// As [`ask`].
pub fn hand_over(
    socket: &Path,
    request: &Request,
    bytes: &[u8],
    limit: Duration,
) -> Result<Answer, AskError> {
    let deadline = Instant::now() + limit;
    let stream = send(socket, request, deadline, limit)?;
    match receive(&stream, deadline, limit)? {
        Answer::Ready => {
            for piece in bytes.chunks(PIECE) {
                write(&stream, piece, deadline, limit)?;
            }
            receive(&stream, deadline, limit)
        }
        other => Ok(other),
    }
}

/// How many bytes are sent at a time, each within what is left of the limit.
const PIECE: usize = 1 << 16;

fn send(
    socket: &Path,
    request: &Request,
    deadline: Instant,
    limit: Duration,
) -> Result<UnixStream, AskError> {
    let stream = UnixStream::connect(socket)
        .map_err(|source| AskError::Connect { socket: socket.to_owned(), source })?;
    let mut line = serde_json::to_vec(request)
        .map_err(|error| AskError::Send { source: io::Error::other(error) })?;
    line.push(b'\n');
    write(&stream, &line, deadline, limit)?;
    Ok(stream)
}

fn write(
    mut stream: &UnixStream,
    bytes: &[u8],
    deadline: Instant,
    limit: Duration,
) -> Result<(), AskError> {
    let left = remaining(deadline).ok_or(AskError::TimedOut { limit })?;
    let sent = stream.set_write_timeout(Some(left)).and_then(|()| stream.write_all(bytes));
    sent.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::TimedOut { limit },
        _ => AskError::Send { source },
    })
}

fn receive(stream: &UnixStream, deadline: Instant, limit: Duration) -> Result<Answer, AskError> {
    let line = receive_line(stream, deadline, limit)?;
    serde_json::from_slice(&line).map_err(|source| AskError::Malformed { source })
}

/// One line. However slowly it drips, it ends with the deadline.
fn receive_line(
    stream: &UnixStream,
    deadline: Instant,
    limit: Duration,
) -> Result<Vec<u8>, AskError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::TimedOut { limit },
        _ => AskError::Receive { source },
    };
    let most = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(stream.take(most));
    let mut line = Vec::new();
    loop {
        let left = remaining(deadline).ok_or(AskError::TimedOut { limit })?;
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        if bytes.is_empty() {
            return Err(if line.len() >= ANSWER_MAX {
                AskError::TooLong
            } else {
                AskError::HungUp
            });
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
        let taken = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(taken);
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// Never zero, which a socket takes for no limit at all.
fn remaining(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Longer than any answer of these tests takes.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Asks a service that does this with the client it gets.
    fn asked(
        limit: Duration,
        serve: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Answer, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hardware.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let service = thread::spawn(move || serve(listener.accept().unwrap().0));
        let answer = ask(&socket, &Request::Sensors, limit);
        service.join().unwrap();
        answer
    }

    fn request_of(stream: &UnixStream) -> String {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn an_answer_is_handed_over() {
        let answer = asked(LIMIT, |mut stream| {
            assert_eq!(request_of(&stream), "{\"request\":\"sensors\"}\n");
            stream.write_all(b"{\"answer\":\"done\"}\n").unwrap();
        });
        assert_eq!(answer.unwrap(), Answer::Done);
    }

    #[test]
    fn a_service_that_is_silent_or_drips_is_given_up() {
        let limit = Duration::from_millis(200);
        let answer = asked(limit, |mut stream| {
            // Until the client hangs up.
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(answer, Err(AskError::TimedOut { .. })), "{answer:?}");
        let answer = asked(limit, |mut stream| {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        assert!(matches!(answer, Err(AskError::TimedOut { .. })), "{answer:?}");
    }

    #[test]
    fn bytes_are_handed_over_only_to_who_is_ready_for_them() {
        let given = |ready: bool| {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("hardware.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let service = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                request_of(&stream);
                if !ready {
                    stream.write_all(b"{\"answer\":\"failed\",\"reason\":\"no\"}\n").unwrap();
                    return Vec::new();
                }
                stream.write_all(b"{\"answer\":\"ready\"}\n").unwrap();
                let mut bytes = vec![0; 200_000];
                stream.read_exact(&mut bytes).unwrap();
                stream.write_all(b"{\"answer\":\"done\"}\n").unwrap();
                bytes
            });
            let request = Request::WriteSupport { name: "a".to_owned(), length: 200_000 };
            let answer = hand_over(&socket, &request, &[7; 200_000], LIMIT).unwrap();
            (answer, service.join().unwrap())
        };
        assert_eq!(given(true), (Answer::Done, vec![7; 200_000]));
        assert_eq!(given(false), (Answer::Failed { reason: "no".to_owned() }, Vec::new()));
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let answer = asked(LIMIT, |mut stream| while stream.write_all(&[b'x'; 65536]).is_ok() {});
        assert!(matches!(answer, Err(AskError::TooLong)), "{answer:?}");
    }

    #[test]
    fn no_service_a_hang_up_and_nonsense_are_told_apart() {
        let answer = ask(Path::new("/nonexistent/socket"), &Request::Sensors, LIMIT);
        assert!(matches!(answer, Err(AskError::Connect { .. })), "{answer:?}");
        let answer = asked(LIMIT, |stream| {
            request_of(&stream);
        });
        assert!(matches!(answer, Err(AskError::HungUp)), "{answer:?}");
        let answer = asked(LIMIT, |mut stream| {
            request_of(&stream);
            stream.write_all(b"nonsense\n").unwrap();
        });
        assert!(matches!(answer, Err(AskError::Malformed { .. })), "{answer:?}");
    }
}
