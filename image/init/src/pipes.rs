//! What services print: one pipe for each process, read without ever waiting.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::logbook::Lines;

/// Most bytes that are taken from one pipe at a time, so that no service that prints without end
/// keeps PID 1 from the others.
const MAX_TAKEN: usize = 64 * 1024;

/// The pipes that are open.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    open: Vec<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    service: String,
    file: File,
    lines: Lines,
}

impl Pipes {
    /// A new pipe; gives the end that the service writes to.
    ///
    /// # Errors
    ///
    /// When the kernel has none left.
    pub(crate) fn add(&mut self, service: &str) -> io::Result<OwnedFd> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let flags = rustix::fs::fcntl_getfl(&read)?;
        rustix::fs::fcntl_setfl(&read, flags | OFlags::NONBLOCK)?;
        let pipe = Pipe { service: service.to_owned(), file: read.into(), lines: Lines::default() };
        self.open.push(pipe);
        Ok(write)
    }

    /// Everything that poll is to watch for input.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().map(|pipe| pipe.file.as_fd())
    }

    /// Takes in what has come: service and line. A pipe that all writers have closed is dropped.
    pub(crate) fn read(&mut self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.open.retain_mut(|pipe| {
            let (lines, open) = pipe.read();
            all.extend(lines.into_iter().map(|line| (pipe.service.clone(), line)));
            open
        });
        all
    }
}

impl Pipe {
    fn read(&mut self) -> (Vec<String>, bool) {
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        for _ in 0..MAX_TAKEN / buffer.len() {
            match self.file.read(&mut buffer) {
                Ok(0) => {
                    lines.extend(self.lines.finish());
                    return (lines, false);
                }
                Ok(length) => {
                    lines.extend(self.lines.push(buffer.get(..length).unwrap_or_default()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (lines, error.kind() == io::ErrorKind::WouldBlock),
            }
        }
        (lines, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_carry_their_service_and_the_last_needs_no_end() {
        let mut pipes = Pipes::default();
        let mut one = File::from(pipes.add("one").expect("pipe"));
        let mut two = File::from(pipes.add("two").expect("pipe"));
        assert_eq!(pipes.read(), []);
        one.write_all(b"a\nb").expect("written");
        two.write_all(b"c\n").expect("written");
        let line = |service: &str, text: &str| (service.to_owned(), text.to_owned());
        assert_eq!(pipes.read(), [line("one", "a"), line("two", "c")]);
        drop(one);
        assert_eq!(pipes.read(), [line("one", "b")]);
        assert_eq!(pipes.inputs().count(), 1);
    }
}
