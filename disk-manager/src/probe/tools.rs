//! Rule A6: what `wipefs` and `blkid` of util-linux say.

use std::path::Path;
use std::time::Duration;

use disk_manager_plan::observe::{Answer, Blkid, DataSeen, Signature, Trouble};
use uuid::Uuid;

use super::wipefs::read_wipefs;
use crate::program::{Output, ProgramError, run};

/// Both read a few hundred KiB; a healthy disk that has to spin up first takes about 10 s.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks `wipefs -n`.
#[must_use]
pub fn wipefs(path: &Path) -> Answer<Vec<Signature>> {
    let path = path.to_string_lossy();
    match run("wipefs", &["--no-act", "--json", &path], LIMIT) {
        Ok(Output { status: 0, stdout, .. }) => read_wipefs(&stdout),
        other => Answer::Failed(trouble("wipefs", other)),
    }
}

/// Asks `blkid -p` about a whole disk.
#[must_use]
pub fn blkid(path: &Path) -> Answer<Blkid> {
    let path = path.to_string_lossy();
    read_blkid(run("blkid", &["-p", "-o", "export", &path], LIMIT))
}

fn read_blkid(result: Result<Output, ProgramError>) -> Answer<Blkid> {
    match result {
        Ok(Output { status: 0, stdout, .. }) => {
            let value = |key: &str| {
                stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            };
            let name = match (value("TYPE"), value("PTTYPE")) {
                (Some(kind), _) => kind.to_owned(),
                (None, Some(table)) => format!("a partition table ({table})"),
                (None, None) => "something it does not name".to_owned(),
            };
            Answer::Is(Blkid::Found(name))
        }
        Ok(Output { status: 2, complaint, .. }) if complaint.is_empty() => {
            Answer::Is(Blkid::Nothing)
        }
        Ok(Output { status: 8, .. }) => Answer::Is(Blkid::Ambivalent),
        other => Answer::Failed(trouble("blkid", other)),
    }
}

/// Asks `blkid -p` what stands in `length` bytes from `offset` on, where only an XFS of `volume` or
/// nothing is expected.
#[must_use]
pub fn data_area(path: &Path, offset: u64, length: u64, volume: Uuid) -> Answer<DataSeen> {
    let (path, offset, length) = (path.to_string_lossy(), offset.to_string(), length.to_string());
    let arguments = ["-p", "-o", "export", "-O", &offset, "-S", &length, &path];
    let result = run("blkid", &arguments, LIMIT);
    let ours = format!("UUID={volume}");
    let is_our_xfs = |text: &str| {
        text.lines().any(|line| line == "TYPE=xfs") && text.lines().any(|line| line == ours)
    };
    if matches!(&result, Ok(Output { status: 0, stdout, .. }) if is_our_xfs(stdout)) {
        return Answer::Is(DataSeen::OurXfs);
    }
    match read_blkid(result) {
        Answer::Is(Blkid::Nothing) => Answer::Is(DataSeen::Blank),
        Answer::Is(Blkid::Found(name)) => Answer::Is(DataSeen::Other(name)),
        Answer::Is(Blkid::Ambivalent) => {
            Answer::Is(DataSeen::Other("several signatures that contradict".to_owned()))
        }
        Answer::Failed(trouble) => Answer::Failed(trouble),
        Answer::NotAsked => Answer::NotAsked,
    }
}

fn trouble(program: &str, result: Result<Output, ProgramError>) -> Trouble {
    let program = program.to_owned();
    match result {
        Ok(Output { status, complaint, .. }) => {
            Trouble::Program { program, error: format!("exit status {status}: {complaint}") }
        }
        Err(ProgramError::TimedOut { seconds, .. }) => Trouble::TimedOut { what: program, seconds },
        Err(error) => Trouble::Program { program, error: error.to_string() },
    }
}
