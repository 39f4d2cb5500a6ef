//! The terminal on standard input and output, or a pipe in its place.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::canvas::{Canvas, RESTORE};
use crate::draw::draw;
use crate::keys::{Decoder, Input};
use crate::state::{Event, Key, Size, State};

/// A terminal larger than this, or with no cells at all, is a wrong answer.
const SIZE_MAX: u16 = 500;

/// The smallest that is believed.
const SIZE_MIN: Size = Size { width: 20, height: 5 };

/// Sends the cursor far off and asks where it stopped (ECMA-48: CUP, DSR 6).
const ASK_POSITION: &[u8] = b"\x1b[999;999H\x1b[6n";

/// How long a terminal may take to say where its cursor is: enough for one that is reached over
/// two networks.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long the first two bytes of one key may be apart, else the first is the escape key. A serial
/// line takes 0.1 ms for each, its adapter hands them on every 16 ms; a person does not notice.
const WITHIN_KEY: Duration = Duration::from_millis(50);

/// Questions for the position before a terminal counts as one that gives no answer: a serial line
/// loses bytes.
const QUESTIONS: usize = 2;

/// Bytes that are read at once.
const CHUNK: usize = 1024;

/// Keys that are kept until they are looked at; more of them are dropped. Without a question nothing
/// is read before all are looked at, so that of a pipe none is.
const KEYS_MAX: usize = CHUNK;

/// A terminal that hands over every key at once and shows nothing by itself. Set back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    canvas: Canvas,
    /// How the terminal was set; none where it is none.
    before: Option<Termios>,
    /// Whether a picture was sent.
    is_painted: bool,
    decoder: Decoder,
    keys: VecDeque<Key>,
    /// The size as the kernel told it last.
    told: Option<Size>,
}

impl Terminal {
    /// Takes over standard input and output.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn open() -> io::Result<Self> {
        let before = if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let before = tcgetattr(io::stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
            Some(before)
        } else {
            None
        };
        Ok(Self {
            canvas: Canvas::default(),
            before,
            is_painted: false,
            decoder: Decoder::default(),
            keys: VecDeque::new(),
            told: None,
        })
    }

    /// Whether input and output are a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.before.is_some()
    }

    /// The size of the terminal: as the kernel knows it, else, on a serial line, as the terminal
    /// says where its cursor stops; `None` where it does not say.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn measure(&mut self) -> io::Result<Option<Size>> {
        self.told = told();
        if self.told.is_some() {
            return Ok(self.told);
        }
        for _ in 0..QUESTIONS {
            if let Some(size) = self.ask_size()? {
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    /// Waits for a key alone, at most `timeout`; a signal ends it as well.
    ///
    /// # Errors
    /// When the terminal is gone; with a pipe, at its end.
    pub(crate) fn wait_for_key(&mut self, timeout: Duration) -> io::Result<Option<Key>> {
        self.next_key(timeout, None)
    }

    fn next_key(
        &mut self,
        timeout: Duration,
        bell: Option<BorrowedFd<'_>>,
    ) -> io::Result<Option<Key>> {
        if self.keys.is_empty() {
            self.read(timeout, bell)?;
        }
        Ok(self.keys.pop_front())
    }

    /// Sends text, its lines ended as a raw terminal wants them.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.is_terminal() {
            true => out.write_all(text.replace('\n', "\r\n").as_bytes())?,
            false => out.write_all(text.as_bytes())?,
        }
        out.flush()
    }

    /// Waits for a key or a new size, at most `timeout`; a signal ends it as well, and `bell`, an eventfd, which is
    /// silent afterwards.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn wait(&mut self, timeout: Duration, bell: &OwnedFd) -> io::Result<Option<Event>> {
        let size = told();
        if size != self.told {
            self.told = size;
            return Ok(size.map(Event::Resized));
        }
        // An answer that is late is of no use any more.
        Ok(self.next_key(timeout, Some(bell.as_fd()))?.map(Event::Key))
    }

    /// Sends what changed.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn show(&mut self, state: &State) -> io::Result<()> {
        let mut picture = Canvas::blank(state.size);
        draw(state, &mut picture);
        let bytes = self.canvas.show(picture);
        if bytes.is_empty() {
            return Ok(());
        }
        self.is_painted = true;
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Wipes the pictures that were sent.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(crate) fn wipe(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_painted) {
            self.forget();
            let mut out = io::stdout().lock();
            out.write_all(RESTORE.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }

    /// Makes the next [`Terminal::show`] send everything.
    pub(crate) fn forget(&mut self) {
        self.canvas.forget();
    }

    /// Where the terminal says that its cursor stops; `None` where no answer comes in time, or a
    /// signal before it.
    fn ask_size(&mut self) -> io::Result<Option<Size>> {
        let mut out = io::stdout();
        out.write_all(ASK_POSITION)?;
        out.flush()?;
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(answers) = self.read(left, None)? else { return Ok(None) };
            let size = answers.into_iter().find(is_believed);
            // A terminal that sends without end does not hold the console.
            if size.is_some() || left.is_zero() {
                return Ok(size);
            }
        }
    }

    /// Waits until something can be read, and reads it: keys go to the others, answers are given
    /// back. `None` where nothing came in time, or a signal or the bell before it.
    fn read(
        &mut self,
        timeout: Duration,
        bell: Option<BorrowedFd<'_>>,
    ) -> io::Result<Option<Vec<Size>>> {
        // No bell cuts a key in two.
        let (timeout, bell) = match self.decoder.may_be_key() {
            true => (timeout.min(WITHIN_KEY), None),
            false => (timeout, bell),
        };
        let inputs = if input_within(timeout, bell)? {
            let mut bytes = [0; CHUNK];
            let length = rustix::io::read(io::stdin(), &mut bytes)?;
            // A terminal that is gone would give its end over and over.
            if length == 0 {
                return Err(gone());
            }
            self.decoder.push(bytes.get(..length).unwrap_or_default())
        } else {
            let Some(input) = self.decoder.give_up() else { return Ok(None) };
            vec![input]
        };
        let mut answers = Vec::new();
        for input in inputs {
            match input {
                Input::Key(key) if self.keys.len() < KEYS_MAX => self.keys.push_back(key),
                Input::Key(_) => {}
                Input::Cursor(size) => answers.push(size),
            }
        }
        Ok(Some(answers))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to hear of a terminal that cannot be set back.
        let _ = self.wipe();
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Waits until something can be read, at most `timeout` and until the bell rings, which is silent afterwards; false
/// where nothing can, or a signal came.
fn input_within(timeout: Duration, bell: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut all = vec![PollFd::new(&stdin, PollFlags::IN)];
    all.extend(bell.map(|bell| PollFd::from_borrowed_fd(bell, PollFlags::IN)));
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut all, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => return Ok(false),
        other => other?,
    };
    let mut came = all.iter().map(PollFd::revents);
    let input = came.next().unwrap_or(PollFlags::empty());
    if let Some(bell) = bell.filter(|_| came.next().is_some_and(|bell| !bell.is_empty())) {
        // What rang it is looked at next; where another was quicker, there is nothing to read.
        let _ = rustix::io::read(bell, &mut [0; 8]);
    }
    let has = |flags| input.intersects(flags);
    // A pipe whose other end is closed still gives what is in it.
    if has(PollFlags::IN) {
        return Ok(true);
    }
    if has(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Err(gone());
    }
    Ok(false)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone")
}

/// The size as the kernel knows it; of a serial line it does not.
fn told() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    let size = Size { width: size.ws_col, height: size.ws_row };
    (size.width > 0 && size.height > 0).then_some(size)
}

fn is_believed(size: &Size) -> bool {
    (SIZE_MIN.width..=SIZE_MAX).contains(&size.width)
        && (SIZE_MIN.height..=SIZE_MAX).contains(&size.height)
}
