//! A terminal at the end of the node's serial line, as a technician's would be.

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Rows and columns of the smallest terminal that the console supports.
pub const SIZE: (NonZero<u16>, NonZero<u16>) =
    (NonZero::new(24).expect("not zero"), NonZero::new(80).expect("not zero"));

/// What a program sends to learn where the cursor is, and so how large the terminal is.
const CURSOR_QUERY: &[u8] = b"\x1b[6n";

/// How long a screen may take to come after its key: the console asks for the terminal's size first,
/// and the agent for what the screen shows.
const KEY_TAKES: Duration = Duration::from_secs(5);

/// The console's screen with every disk.
pub const DISKS: &str = "3";

/// A VT terminal on a serial line; it reads in the background.
#[derive(Clone)]
pub struct Screen {
    parser: Arc<Mutex<vt100::Parser>>,
    line: Arc<UnixStream>,
    answers: bool,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    /// Attaches to a serial line that QEMU offers as a socket. Only where it `answers` does it say how large it is.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn attach(path: &Path, answers: bool) -> Result<Self> {
        let stream = UnixStream::connect(path)?;
        let (parser, line) = (Arc::new(Mutex::new(terminal())), Arc::new(stream.try_clone()?));
        let screen = Self { parser, line, answers };
        let reading = screen.clone();
        std::thread::spawn(move || reading.read_all(stream));
        Ok(screen)
    }

    fn read_all(&self, mut stream: UnixStream) {
        let mut chunk = [0; 4096];
        // A question may come in two pieces; a console whose question is not answered shows no screens.
        let mut end = Vec::new();
        while let Ok(length) = stream.read(&mut chunk) {
            let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { return };
            self.parser.lock().unwrap_or_else(PoisonError::into_inner).process(bytes);
            end.extend_from_slice(bytes);
            if end.windows(CURSOR_QUERY.len()).any(|window| window == CURSOR_QUERY) {
                end.clear();
                if self.answers {
                    self.answer_position();
                }
            }
            let kept = end.len().saturating_sub(CURSOR_QUERY.len() - 1);
            end.drain(..kept);
        }
    }

    fn answer_position(&self) {
        let (row, column) =
            self.parser.lock().unwrap_or_else(PoisonError::into_inner).screen().cursor_position();
        // The node may be gone by now; then nobody waits for the answer.
        let _ = write!(&*self.line, "\x1b[{};{}R", row + 1, column + 1);
    }

    /// What a person sees now.
    #[must_use]
    pub fn text(&self) -> String {
        self.parser.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Wipes the screen, as a terminal that is switched off and on.
    pub fn wipe(&self) {
        *self.parser.lock().unwrap_or_else(PoisonError::into_inner) = terminal();
    }

    /// Types.
    ///
    /// # Errors
    /// When the line is closed.
    pub fn type_keys(&self, keys: &str) -> Result<()> {
        (&*self.line).write_all(keys.as_bytes())?;
        Ok(())
    }

    /// Presses the key of a screen of the console until its picture satisfies `wanted`, and returns it. Once is
    /// not enough: a console that has just started does not read keys yet.
    ///
    /// # Errors
    /// With the last picture when it does not come in time.
    pub fn wait_on(
        &self,
        key: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let until = Instant::now() + within;
        loop {
            self.type_keys(key)?;
            let left = until.saturating_duration_since(Instant::now());
            match self.wait(what, left.min(KEY_TAKES), &wanted) {
                Err(error) if left <= KEY_TAKES => return Err(error),
                Err(_) => {}
                picture => return picture,
            }
        }
    }

    /// Waits until the picture satisfies `wanted`, and returns it.
    ///
    /// # Errors
    /// With the last picture when it does not come in time.
    pub fn wait(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let until = Instant::now() + within;
        loop {
            let text = self.text();
            if wanted(&text) {
                return Ok(text);
            }
            if Instant::now() > until {
                bail!("the console did not show {what} within {within:?}; it shows:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn terminal() -> vt100::Parser {
    vt100::Parser::new(SIZE.0, SIZE.1, 0)
}
