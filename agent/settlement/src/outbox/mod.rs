//! What was signed, before it is sent: the memory that keeps a call from taking effect twice.
//!
//! - A record is on stable storage, or is not answered for. A write or sync that failed fences the outbox.
//! - What a power cut tore off the end is cut off; anything else that is wrong sets the file aside, and nothing
//!   is signed until somebody has looked.
//! - Where a file was set aside, its absence is no new beginning: `open` refuses until somebody called
//!   [`Outbox::begin_anew`].
//!
//! The bytes are drawn in `docs/design/settlement-engine.md`.

mod backend;
mod format;
mod record;
#[cfg(test)]
mod tests;

use std::io;

pub use backend::{Backend, Folder};
pub use format::{Damage, Foreign, Owner};
pub use record::{Fee, Inclusion, Intent, Outcome, ParkReason, Purpose, Record, Signed, Spent};

use format::{HEADER_BYTES, MARK_BYTES, RECORD_MAX, Unreadable};

/// The longest file in bytes: what is open at most, with room to spare. It is compacted long before.
const FILE_MAX: usize = 256 << 20;

/// An outbox that can be added to.
#[derive(Debug)]
pub struct Outbox<B> {
    backend: B,
    owner: Owner,
    /// Bytes of the file.
    length: usize,
    fenced: bool,
}

/// What there was.
#[derive(Debug)]
pub enum Opened<B> {
    /// An outbox, and its records.
    Ready(Outbox<B>, Vec<Record>),
    /// None. Whether one may be begun, the chain says: not where the account has sent transactions.
    Absent(B),
}

/// What is done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is read.
    Read,
    /// It is made.
    Create,
    /// What was torn off is cut.
    Cut,
    /// A record is added.
    Append,
    /// It is written anew without what is over.
    Compact,
    /// It is set aside.
    SetAside,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Create => "make",
            Self::Cut => "cut",
            Self::Append => "add to",
            Self::Compact => "compact",
            Self::SetAside => "set aside",
        })
    }
}

/// Why an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The disk failed.
    #[error("cannot {operation} the outbox; nothing is signed until the agent starts again")]
    Disk {
        /// What was done.
        operation: Operation,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// An earlier failure fenced it.
    #[error("the outbox failed before; nothing is signed until the agent starts again")]
    Fenced,
    /// What is in it is lost.
    #[error(
        "the outbox is damaged: {damage}; it was set aside as {name}. What was signed is unknown, so nothing is \
         signed: see that no transaction of this account waits, then begin anew"
    )]
    Damaged {
        /// What is wrong.
        damage: Damage,
        /// What it is called now.
        name: String,
    },
    /// It is another's.
    #[error("the outbox is not used: {0}")]
    Foreign(Foreign),
    /// A record is too long.
    #[error("a record is longer than {RECORD_MAX} bytes")]
    TooLong,
    /// The file is too long.
    #[error("the outbox is full: {FILE_MAX} bytes; deal with what is parked")]
    Full,
}

fn disk(operation: Operation) -> impl FnOnce(io::Error) -> OutboxError {
    move |source| OutboxError::Disk { operation, source }
}

impl<B: Backend> Outbox<B> {
    /// Opens the outbox of an owner, with its records.
    ///
    /// # Errors
    /// The disk fails; the file is damaged, or another's.
    pub fn open(mut backend: B, owner: Owner) -> Result<Opened<B>, OutboxError> {
        let Some(bytes) = backend.load().map_err(disk(Operation::Read))? else {
            return Ok(Opened::Absent(backend));
        };
        let parsed = match format::parse(&bytes, &owner) {
            Ok(parsed) => parsed,
            Err(Unreadable::Foreign(foreign)) => return Err(OutboxError::Foreign(foreign)),
            Err(Unreadable::Damaged(damage)) => {
                let name = backend.set_aside().map_err(disk(Operation::SetAside))?;
                backend.sync_folder().map_err(disk(Operation::SetAside))?;
                return Err(OutboxError::Damaged { damage, name });
            }
        };
        let mut length = parsed.keep;
        if length < bytes.len() {
            backend.truncate(length as u64).map_err(disk(Operation::Cut))?;
        }
        // The last frame was read from a cache, perhaps: it is answered for from now on.
        backend.sync().map_err(disk(Operation::Cut))?;
        if let Some(mark) = parsed.lacks_mark {
            backend.append(&mark).map_err(disk(Operation::Cut))?;
            backend.sync().map_err(disk(Operation::Cut))?;
            length += MARK_BYTES;
        }
        Ok(Opened::Ready(Self { backend, owner, length, fenced: false }, parsed.records))
    }

    /// An empty outbox, in the place of what is there. Whoever calls it knows that no transaction of the account
    /// waits.
    ///
    /// # Errors
    /// The disk fails.
    pub fn begin_anew(backend: B, owner: Owner) -> Result<Self, OutboxError> {
        let mut outbox = Self { backend, owner, length: HEADER_BYTES, fenced: false };
        outbox.put(&format::header(&owner)).map_err(disk(Operation::Create))?;
        Ok(outbox)
    }

    /// Adds a record. It is on stable storage when this returns.
    ///
    /// # Errors
    /// It is not known to be, and the outbox takes no other.
    pub fn append(&mut self, record: &Record) -> Result<(), OutboxError> {
        if self.fenced {
            return Err(OutboxError::Fenced);
        }
        let frame = format::frame(record).ok_or(OutboxError::TooLong)?;
        let size = frame.len() + MARK_BYTES;
        if self.length + size > FILE_MAX {
            return Err(OutboxError::Full);
        }
        let mark = format::mark(self.length, &frame);
        self.fenced = true;
        for part in [&frame[..], &mark[..]] {
            self.backend.append(part).map_err(disk(Operation::Append))?;
            self.backend.sync().map_err(disk(Operation::Append))?;
        }
        self.fenced = false;
        self.length += size;
        Ok(())
    }

    /// Puts these records in the place of all.
    ///
    /// # Errors
    /// It is not known which are there, and the outbox takes no other; either all of the old or all of the new are.
    pub fn compact(&mut self, records: &[Record]) -> Result<(), OutboxError> {
        if self.fenced {
            return Err(OutboxError::Fenced);
        }
        let mut bytes = format::header(&self.owner);
        for record in records {
            let frame = format::frame(record).ok_or(OutboxError::TooLong)?;
            let mark = format::mark(bytes.len(), &frame);
            bytes.extend(frame);
            bytes.extend(mark);
        }
        self.fenced = true;
        self.put(&bytes).map_err(disk(Operation::Compact))?;
        (self.fenced, self.length) = (false, bytes.len());
        Ok(())
    }

    /// Bytes of the file.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.backend.write_aside(bytes)?;
        self.backend.sync_aside()?;
        self.backend.rename_aside()?;
        self.backend.sync_folder()
    }
}
