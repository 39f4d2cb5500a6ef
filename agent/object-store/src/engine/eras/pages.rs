//! What is kept of an era: all objects as they were at its cut, sorted, in pages, with the tree over
//! them. `docs/design/proofs.md` draws it.
//!
//! A page holds up to 256 members, or up to 256 lines of pages below it; all but the last of a level are
//! full. As 256 is a power of two, the tree over all members is the same as if there were no pages.

use agent_proofs::ProofError;
use agent_proofs::member::{Commitment, Member, Node, top};

use crate::names::UnixMillis;

/// Entries of a full page.
pub(super) const FULL: usize = 256;

/// Length of the trailer in bytes.
pub(super) const TRAILER: u64 = 8 + 32 + 8 + 1 + 8 + 4 + 2 + 8 + 8 + 32;

const MAGIC: [u8; 8] = *b"ICNERA1\0";

/// Levels of pages; with eight of them there are more members than numbers.
const LEVELS_MAX: u8 = 8;

/// Where a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageAt {
    pub at: u64,
    pub length: u32,
    pub entries: u16,
}

/// A page as the one above it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The topmost node of the page.
    pub node: Node,
    pub page: PageAt,
    /// Bucket and key of the first member below.
    pub first: (String, String),
}

/// What stands at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// The salts are made of it.
    pub secret: [u8; 32],
    pub at: UnixMillis,
    /// Levels of pages; the topmost one is `top`.
    pub levels: u8,
    pub top: PageAt,
    pub commitment: Commitment,
}

/// The salt of a member.
pub(super) fn salt(secret: &[u8; 32], member: &Member) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&(member.bucket.len() as u64).to_le_bytes());
    hasher.update(member.bucket.as_bytes()).update(member.key.as_bytes());
    *hasher.finalize().as_bytes()
}

/// A page that is being filled.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    nodes: Vec<Node>,
    first: Option<(String, String)>,
}

/// Writes pages. Members come in order.
#[derive(Debug)]
pub(super) struct Writer {
    secret: [u8; 32],
    levels: Vec<Open>,
    at: u64,
    count: u64,
    /// What was written and not taken.
    pub out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, levels: Vec::new(), at: 0, count: 0, out: Vec::new() }
    }

    /// # Errors
    /// A name is longer than there are.
    pub(super) fn push(&mut self, member: Member) -> Result<(), ProofError> {
        let node = member.leaf(&salt(&self.secret, &member))?;
        let mut bytes = Vec::new();
        member.write(&mut bytes)?;
        self.count += 1;
        self.add(0, node, &bytes, (member.bucket, member.key))
    }

    fn add(
        &mut self,
        level: usize,
        node: Node,
        bytes: &[u8],
        name: (String, String),
    ) -> Result<(), ProofError> {
        if level == self.levels.len() {
            self.levels.push(Open::default());
        }
        let Some(open) = self.levels.get_mut(level) else { return Err(ProofError::Malformed) };
        open.nodes.push(node);
        open.bytes.extend_from_slice(bytes);
        open.first.get_or_insert(name);
        if open.nodes.len() < FULL { Ok(()) } else { self.close(level) }
    }

    /// Writes the page of a level; the one above gets a line for it.
    fn close(&mut self, level: usize) -> Result<(), ProofError> {
        let Some((line, node)) = self.write_page(level)? else { return Ok(()) };
        let mut bytes = Vec::new();
        line.write(&mut bytes)?;
        self.add(level + 1, node, &bytes, line.first)
    }

    fn write_page(&mut self, level: usize) -> Result<Option<(Line, Node)>, ProofError> {
        let Some(open) = self.levels.get_mut(level) else { return Ok(None) };
        let Open { bytes, nodes, first } = std::mem::take(open);
        let (Some(node), Some(first)) = (top(&nodes), first) else { return Ok(None) };
        let length = u32::try_from(bytes.len()).map_err(|_| ProofError::Malformed)?;
        let entries = u16::try_from(nodes.len()).map_err(|_| ProofError::Malformed)?;
        let page = PageAt { at: self.at, length, entries };
        self.at += bytes.len() as u64;
        self.out.extend_from_slice(&bytes);
        Ok(Some((Line { node, page, first }, node)))
    }

    /// Writes what is left, and the trailer.
    ///
    /// # Errors
    /// There are more levels than there can be.
    pub(super) fn finish(&mut self, at: UnixMillis) -> Result<Trailer, ProofError> {
        let (mut level, mut node) = (0, None);
        let mut top = PageAt { at: 0, length: 0, entries: 0 };
        while level < self.levels.len() {
            let above = self.levels.get(level + 1..).unwrap_or_default();
            if above.iter().any(|open| !open.nodes.is_empty()) {
                self.close(level)?;
            } else if let Some((line, found)) = self.write_page(level)? {
                (top, node) = (line.page, Some(found));
            }
            level += 1;
        }
        let levels = u8::try_from(level).map_err(|_| ProofError::Malformed)?;
        let commitment = Commitment::new(self.count, node);
        let trailer = Trailer { secret: self.secret, at, levels, top, commitment };
        trailer.write(&mut self.out);
        Ok(trailer)
    }
}

impl Line {
    fn write(&self, to: &mut Vec<u8>) -> Result<(), ProofError> {
        to.extend_from_slice(&self.node.hash);
        to.extend_from_slice(&self.node.bytes.to_le_bytes());
        self.page.write(to);
        for name in [&self.first.0, &self.first.1] {
            let length = u16::try_from(name.len()).map_err(|_| ProofError::Malformed)?;
            to.extend_from_slice(&length.to_le_bytes());
            to.extend_from_slice(name.as_bytes());
        }
        Ok(())
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let node = Node { hash: take(from)?, bytes: u64::from_le_bytes(take(from)?) };
        let page = PageAt::read(from)?;
        let mut name = || {
            let length = usize::from(u16::from_le_bytes(take(from)?));
            let (name, rest) = from.split_at_checked(length)?;
            *from = rest;
            Some(str::from_utf8(name).ok()?.to_owned())
        };
        Some(Self { node, page, first: (name()?, name()?) })
    }
}

impl PageAt {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.at.to_le_bytes());
        to.extend_from_slice(&self.length.to_le_bytes());
        to.extend_from_slice(&self.entries.to_le_bytes());
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let at = u64::from_le_bytes(take(from)?);
        let length = u32::from_le_bytes(take(from)?);
        Some(Self { at, length, entries: u16::from_le_bytes(take(from)?) })
    }
}

impl Trailer {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&MAGIC);
        to.extend_from_slice(&self.secret);
        to.extend_from_slice(&self.at.0.to_le_bytes());
        to.push(self.levels);
        self.top.write(to);
        to.extend_from_slice(&self.commitment.count.to_le_bytes());
        to.extend_from_slice(&self.commitment.bytes.to_le_bytes());
        to.extend_from_slice(&self.commitment.root);
    }

    /// The trailer in its bytes.
    ///
    /// # Errors
    /// They are none, or those of a later form.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::parse(&mut &*bytes).ok_or(ProofError::Malformed)
    }

    fn parse(from: &mut &[u8]) -> Option<Self> {
        if take(from)? != MAGIC {
            return None;
        }
        let (secret, at) = (take(from)?, UnixMillis(u64::from_le_bytes(take(from)?)));
        let [levels] = take(from)?;
        let top = PageAt::read(from)?;
        let (count, bytes) = (u64::from_le_bytes(take(from)?), u64::from_le_bytes(take(from)?));
        let commitment = Commitment { count, bytes, root: take(from)? };
        let is_sound = from.is_empty() && levels <= LEVELS_MAX;
        is_sound.then_some(Self { secret, at, levels, top, commitment })
    }
}

/// The lines of a page that is not of the lowest level.
///
/// # Errors
/// It holds something else.
pub(super) fn lines(mut page: &[u8], entries: u16) -> Result<Vec<Line>, ProofError> {
    let line = |_| Line::read(&mut page).ok_or(ProofError::Malformed);
    (0..entries).map(line).collect()
}

/// The members of a page of the lowest level.
///
/// # Errors
/// It holds something else.
pub(super) fn members(mut page: &[u8], entries: u16) -> Result<Vec<Member>, ProofError> {
    let member = |_| {
        let (member, rest) = Member::read(page)?;
        page = rest;
        Ok(member)
    };
    (0..entries).map(member).collect()
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
}
