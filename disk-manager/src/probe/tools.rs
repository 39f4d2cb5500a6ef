//! Rule A6: what `wipefs` and `blkid` of util-linux say.

use std::path::Path;
use std::time::Duration;

use disk_manager_plan::observe::{Answer, Blkid, DataSeen, Signature, Trouble};
use serde::Deserialize;
use uuid::Uuid;

use crate::program::{Output, ProgramError, run};

/// Both read a few hundred KiB; a healthy disk that has to spin up first takes about 10 s.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct WipefsAnswer {
    signatures: Vec<WipefsSignature>,
}

#[derive(Deserialize)]
struct WipefsSignature {
    offset: String,
    r#type: String,
}

/// Asks `wipefs -n`.
#[must_use]
pub fn wipefs(path: &Path) -> Answer<Vec<Signature>> {
    let path = path.to_string_lossy();
    match run("wipefs", &["--no-act", "--json", &path], LIMIT) {
        Ok(Output { status: 0, stdout, .. }) => read_wipefs(&stdout),
        other => Answer::Failed(trouble("wipefs", other)),
    }
}

fn read_wipefs(text: &str) -> Answer<Vec<Signature>> {
    if text.trim().is_empty() {
        return Answer::Is(Vec::new());
    }
    let failed =
        |error: String| Answer::Failed(Trouble::Program { program: "wipefs".to_owned(), error });
    let answer: WipefsAnswer = match serde_json::from_str(text) {
        Ok(answer) => answer,
        Err(error) => return failed(format!("its answer is not understood: {error}")),
    };
    let mut found = Vec::new();
    for signature in answer.signatures {
        let digits = signature.offset.trim_start_matches("0x");
        let Ok(offset) = u64::from_str_radix(digits, 16) else {
            return failed(format!("its answer is not understood: offset {}", signature.offset));
        };
        found.push(Signature { name: signature.r#type, offset });
    }
    Answer::Is(found)
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
