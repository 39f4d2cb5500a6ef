//! The one thing asked of QEMU while it runs: to press the power button (QEMU Machine Protocol, a
//! line of JSON each way).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long QEMU may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Presses the power button: the guest sees an ACPI event.
///
/// # Errors
///
/// When QEMU does not answer or refuses.
pub(crate) fn press_power_button(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to QEMU at {}", socket.display()))?;
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a time-out")?;
    stream.set_write_timeout(Some(LIMIT)).context("cannot set a time-out")?;
    let mut replies = BufReader::new(&stream);
    let mut greeting = String::new();
    replies.read_line(&mut greeting).context("QEMU does not greet")?;
    for command in ["qmp_capabilities", "system_powerdown"] {
        writeln!(&stream, r#"{{"execute":"{command}"}}"#)
            .with_context(|| format!("cannot send {command} to QEMU"))?;
        result(&mut replies).with_context(|| format!("QEMU does not carry out {command}"))?;
    }
    Ok(())
}

/// Reads up to the command's result; events may come before it.
fn result(replies: &mut impl BufRead) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if replies.read_line(&mut line).context("no answer")? == 0 {
            bail!("the connection ended");
        }
        let reply: serde_json::Value =
            serde_json::from_str(&line).context("the answer is not JSON")?;
        if reply.get("return").is_some() {
            return Ok(());
        }
        if let Some(error) = reply.get("error") {
            bail!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_before_a_result_are_passed_over() {
        let mut text = &b"{\"event\": \"RTC_CHANGE\"}\n{\"return\": {}}\n"[..];
        result(&mut text).unwrap();
        let mut text = &b"{\"error\": {\"desc\": \"no\"}}\n"[..];
        assert!(result(&mut text).unwrap_err().to_string().contains("no"));
        assert!(result(&mut &b""[..]).is_err());
    }
}
