//! QEMU's control socket: power button, disk slots, keys, and what happens to the machine.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer one command: it answers at once unless the host is stuck.
const ANSWER: Duration = Duration::from_secs(60);

/// One connection to QEMU's control socket.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Connects, waiting until QEMU has made the socket.
    ///
    /// # Errors
    /// When it is not there in time or does not greet.
    pub fn connect(path: &Path, within: Duration) -> Result<Self> {
        let until = Instant::now() + within;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => {
                    return Err(error).with_context(|| format!("no QMP at {}", path.display()));
                }
            }
        };
        stream.set_read_timeout(Some(ANSWER))?;
        let mut qmp = Self { reader: BufReader::new(stream.try_clone()?), writer: stream };
        qmp.read()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns what it returned.
    ///
    /// # Errors
    /// QEMU's own error text.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{line}")?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                bail!("QMP {command}: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Runs one command of the monitor that people use, for what QMP itself has none.
    ///
    /// # Errors
    /// QEMU's own error text; what a command prints is an error, as those used here print nothing else.
    pub fn monitor(&mut self, line: &str) -> Result<()> {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": line }))?;
        match answer.as_str().map(str::trim) {
            Some("") => Ok(()),
            said => bail!("{line}: {said:?}"),
        }
    }

    /// Waits for an event and returns what QEMU said of it. Events that came before the last
    /// command's answer are not seen.
    ///
    /// # Errors
    /// When it does not come in time, or QEMU ends before it.
    pub fn wait_for_event(&mut self, name: &str, within: Duration) -> Result<Value> {
        let until = Instant::now() + within;
        let event = loop {
            let left = until.saturating_duration_since(Instant::now());
            // A time-out of zero would mean none.
            self.writer.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let said = self.read().with_context(|| format!("no event {name} within {within:?}"))?;
            if said.get("event").is_some_and(|event| event == name) {
                break said;
            }
        };
        self.writer.set_read_timeout(Some(ANSWER))?;
        Ok(event.get("data").cloned().unwrap_or_default())
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("QEMU closed its control socket");
        }
        Ok(serde_json::from_str(&line)?)
    }
}
