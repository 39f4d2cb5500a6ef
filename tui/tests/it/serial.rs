use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use agent_api::control::Request;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, tcgetattr};

use crate::fake::Agent;

/// What the program sends to learn where the cursor is, and so how large the terminal is.
const CURSOR_QUERY: &str = "\x1b[6n";

/// The longest that anything may take here: the program waits twice 2 s for an answer, and the rest
/// is for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_console_ends_when_the_terminal_goes_away_instead_of_telling_its_size() {
    let mut console = Console::start();
    console.read_until(|text| text.contains(CURSOR_QUERY));
    let status = console.hang_up_and_wait();
    assert!(!status.success(), "a lost terminal is no good end: {status}");
}

#[test]
fn a_terminal_that_does_not_answer_gets_plain_text_until_it_answers() {
    let mut console = Console::start();
    let text = console.read_until(|text| text.contains("icn> "));
    assert_eq!(text.matches(CURSOR_QUERY).count(), 2, "a lost byte is no dumb terminal: {text:?}");
    assert!(!text.contains("\x1b[1;1H"), "a picture: {text:?}");
    // Somebody plugs another terminal in and presses a key.
    console.type_keys("x");
    console.read_until(|text| text.matches(CURSOR_QUERY).count() == 3);
    console.type_keys("\x1b[43;132R");
    console.read_until(|text| text.contains("\x1b[43;1H"));
    console.hang_up_and_wait();
}

#[test]
fn a_dumb_terminal_is_asked_nothing_and_gets_plain_text() {
    let agent = Agent::start();
    let mut console = Console::start_with(&agent.socket(), "dumb");
    let text = console.read_until(|text| text.contains("icn> "));
    assert!(text.contains("ICN Node node-1, agent \r\n"), "{text:?}");
    console.type_keys("nettwork\x7f\x7f\x7f\x7f\x7fwork\r");
    let text = console.read_until(|text| text.contains("hardware address"));
    assert!(text.contains("icn> nettwork"), "what is typed is shown: {text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
    console.type_keys("\x03");
    assert!(console.wait().success());
}

#[test]
fn a_disk_is_retired_by_keys_alone() {
    let agent = Agent::start();
    let mut console = Console::start_with(&agent.socket(), "vt220");
    console.read_until(|text| text.contains(CURSOR_QUERY));
    console.type_keys("\x1b[24;80R");
    console.read_until(|text| text.contains("node-1"));
    // F3, which another terminal calls SS3 R; then the second disk.
    console.type_keys("\x1bOR");
    // The first key after a while asks for the size again.
    console.read_until(|text| text.matches(CURSOR_QUERY).count() == 2);
    console.type_keys("\x1b[24;80R");
    console.read_until(|text| text.contains("SERIAL000002") && text.contains("failing"));
    console.type_keys("\x1b[Bt");
    console.read_until(|text| text.contains("Type the last 6 characters"));
    console.type_keys("000002\r");
    console.read_until(|text| text.contains("is being emptied"));
    assert_eq!(agent.done(), [Request::RetireVolume { volume: "volume-2".to_owned() }]);
    console.type_keys("\x03");
    assert!(console.wait().success());
}

#[test]
fn a_fresh_node_is_set_up_by_keys_alone() {
    let agent = Agent::start_fresh();
    let mut console = Console::start_with(&agent.socket(), "vt220");
    console.read_until(|text| text.contains(CURSOR_QUERY));
    console.type_keys("\x1b[24;80R");
    console.read_until(|text| text.contains("1 / 5  Network"));
    // A static address on a VLAN: set-up is static already; addresses, gateway, VLAN, then to the end.
    console.type_keys("s");
    console.read_until(|text| text.matches(CURSOR_QUERY).count() == 2);
    console.type_keys("\x1b[24;80R");
    console.type_keys("\t\t192.0.2.10/24\r192.0.2.1\r100\x1b[6~\r");
    console.read_until(|text| text.contains("set up so for 120 s"));
    let done = agent.done();
    let [Request::TryNetwork { text }] = done.as_slice() else { panic!("another request") };
    let tried = provisioning_config::parse_network(text).expect("settings");
    assert_eq!((tried.vlans[0].id, tried.vlans[0].port.addresses.len()), (100, 1));
    console.type_keys("\r\r");
    console.read_until(|text| text.contains("3 / 5  Disks"));
    console.type_keys("c");
    console.read_until(|text| text.contains("Type the last 6 characters"));
    console.type_keys("000001\r");
    console.read_until(|text| text.contains("is erased and claimed in 60 s"));
    console.type_keys("\r\r\r");
    console.read_until(|text| text.contains("the first steps are done"));
    let claim = Request::ClaimDisk { disk: "wwn-1".to_owned(), serial_end: "000001".to_owned() };
    assert_eq!(agent.done()[1..], [claim, Request::FinishSetUp]);
    console.type_keys("\x03");
    assert!(console.wait().success());
}

#[test]
fn a_terminal_that_answers_is_filled() {
    let mut console = Console::start();
    console.read_until(|text| text.contains(CURSOR_QUERY));
    // An answer in two pieces.
    console.type_keys("\x1b[43;1");
    console.type_keys("32R");
    let text = console.read_until(|text| text.contains("\x1b[43;1H"));
    assert!(!text.contains("\x1b[44;1H"), "more than 43 rows: {text:?}");
    console.hang_up_and_wait();
}

#[test]
fn ctrl_c_leaves_and_sets_the_terminal_back() {
    let mut console = Console::start();
    let modes = |console: &Console| {
        tcgetattr(console.terminal.as_ref().expect("not hung up")).expect("modes").local_modes
    };
    console.read_until(|text| text.contains(CURSOR_QUERY));
    assert!(!modes(&console).contains(LocalModes::ICANON), "keys wait for the end of a line");
    console.type_keys("\x1b[24;80R\x03");
    let status = console.wait();
    assert!(status.success(), "{status}");
    assert!(modes(&console).contains(LocalModes::ICANON), "the terminal was not set back");
    console.read_until(|text| text.ends_with("\x1b[?25h\x1b[2J\x1b[H"));
}

#[test]
#[ignore = "measures: cargo test --release -p tui --test it idle -- --ignored --nocapture"]
fn the_time_of_a_start_and_the_processor_time_of_an_idle_console() {
    const IDLE: Duration = Duration::from_secs(60);
    let agent = Agent::start_with(60);
    let began = Instant::now();
    let mut console = Console::start_with(&agent.socket(), "vt220");
    console.read_until(|text| text.contains(CURSOR_QUERY));
    console.type_keys("\x1b[43;132R");
    console.read_until(|text| text.contains("\x1b[43;1H"));
    eprintln!("the first picture after {:.1?}", began.elapsed());
    console.read_until(|text| text.contains("node-1"));
    eprintln!("the node on it after {:.1?}", began.elapsed());
    let process = console.process.id();
    let before = processor_ticks(process);
    let until = Instant::now() + IDLE;
    while Instant::now() < until {
        console.read.clear();
        // A picture comes every ten seconds.
        console.read_until(|text| text.contains("\x1b[43;1H"));
    }
    let ticks = processor_ticks(process) - before;
    eprintln!("{ticks} ticks of 10 ms within {IDLE:?}");
    console.hang_up_and_wait();
}

/// What a process has used of processors, in ticks of 10 ms (proc_pid_stat(5): utime and stime).
fn processor_ticks(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = text.rsplit_once(") ").expect("a name in brackets");
    let numbers = fields.split(' ').skip(11).take(2);
    numbers.map(|number| number.parse::<u64>().expect("a number")).sum()
}

/// The program, and the terminal's end of its line.
struct Console {
    process: Child,
    /// `None` once hung up.
    terminal: Option<PtyMaster>,
    read: Vec<u8>,
}

impl Console {
    fn start() -> Self {
        Self::start_with(Path::new("/nonexistent/agent.sock"), "vt220")
    }

    fn start_with(socket: &Path, term: &str) -> Self {
        // Closed on exec: a program that inherits the terminal's end keeps it from hanging up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let terminal = posix_openpt(flags).expect("pseudo terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("usable");
        let path = ptsname_r(&terminal).expect("its name");
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(path)
            .expect("its other end");
        let copy = || Stdio::from(line.try_clone().expect("another descriptor"));
        let process = Command::new(env!("CARGO_BIN_EXE_icn-console"))
            .arg("--socket")
            .arg(socket)
            .env("TERM", term)
            .stdin(copy())
            .stdout(copy())
            .stderr(Stdio::null())
            .spawn()
            .expect("icn-console");
        Self { process, terminal: Some(terminal), read: Vec::new() }
    }

    fn type_keys(&mut self, keys: &str) {
        let terminal = self.terminal.as_mut().expect("not hung up");
        terminal.write_all(keys.as_bytes()).expect("typed");
    }

    /// Reads until what came since the start satisfies `wanted`, and gives all of it.
    fn read_until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if wanted(&text) {
                return text;
            }
            let terminal = self.terminal.as_mut().expect("not hung up");
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("short");
            let mut input = [PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN)];
            let ready = poll(&mut input, Some(&left)).expect("poll");
            assert!(ready > 0, "not within {LIMIT:?}; so far: {text:?}");
            let mut chunk = [0; 4096];
            let length = terminal.read(&mut chunk).expect("the program holds the line open");
            self.read.extend(&chunk[..length]);
        }
    }

    /// Closes the terminal's end and waits for the program's.
    fn hang_up_and_wait(mut self) -> ExitStatus {
        self.terminal = None;
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < until, "still there after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
