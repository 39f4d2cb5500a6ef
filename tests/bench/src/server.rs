//! A server in a process of its own, and what it uses of the machine.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Server {
    /// Starts it and waits for its line `ready http://ADDRESS`.
    ///
    /// # Errors
    /// It cannot be started, or says something else.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().context("standard output was asked for")?;
        // Killed from here on, whatever happens.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        server.address = line
            .trim()
            .strip_prefix("ready http://")
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("{program}: `ready` was wanted, it said {line:?}"))?;
        Ok(server)
    }

    /// CPU time that it used so far, all threads.
    ///
    /// # Errors
    /// `/proc` does not tell.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = cpu_ticks(&stat).with_context(|| format!("no CPU time in {path}"))?;
        let second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / second as f64))
    }

    /// Its resident memory.
    ///
    /// # Errors
    /// `/proc` does not tell.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let field = |name| bytes_of(&text, name).with_context(|| format!("no {name} in {path}"));
        Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Bytes that were fetched from disks for it so far: `read_bytes` of proc_pid_io(5).
    ///
    /// # Errors
    /// `/proc` does not tell.
    pub(crate) fn read_from_disk(&self) -> Result<f64> {
        let path = format!("/proc/{}/io", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        number_of(&text, "read_bytes:").with_context(|| format!("no read_bytes in {path}"))
    }

    /// Ends it without warning.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time: fields 14 and 15 of proc_pid_stat(5), behind the name in brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A field in KiB of proc_pid_status(5), in bytes.
fn bytes_of(status: &str, name: &str) -> Option<f64> {
    number_of(status, name).map(|kib| kib * 1024.0)
}

/// The first number of a line that starts with a name.
fn number_of(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_stands_behind_a_name_with_any_characters() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 17 25 3 4 20 0 8 0 99 1000";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "VmPeak:\t  200 kB\nVmHWM:\t   12 kB\nVmRSS:\t   10 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:"), Some(10_240.0));
        assert_eq!(bytes_of(status, "VmSwap:"), None);
        assert_eq!(number_of("rchar: 7\nread_bytes: 4096\n", "read_bytes:"), Some(4096.0));
    }
}
