//! What an oracle signed and knows of roots, on stable storage before anybody is told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_sla::protocol::settled::EraRoot;
use agent_sla::protocol::signed::Signature;
use agent_sla::protocol::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::compute::{Amounts, Ledger, tree};
use super::wire::Proposal;
use crate::log::{Log, LogError};

/// Roots of one file: a year and more of eras of an hour are ten of them.
const ROOTS_PER_FILE: u64 = 1000;

/// Ledgers that are kept: a root that is not final can be cancelled with all behind it, and 256 may wait
/// (`SlaSettlement.PENDING_MAX`).
const LEDGERS_KEPT: usize = 260;

/// Bytes of a node in the file of a ledger: id, reward, penalty, hash of votes.
const ENTRY: usize = 128;

/// What the file of a ledger begins with.
const MAGIC: [u8; 8] = *b"ICNLEDG1";

/// Why a book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A ledger cannot be read or written.
    #[error("cannot {operation} {path}: {source}")]
    File {
        /// What was to be done.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A ledger is not that of its root.
    #[error("{path} is not the ledger of its root; remove it, it is fetched anew")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// What is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
enum Entry {
    /// A root is known, with what it was computed from.
    Known { digest: B256, proposal: Proposal },
    /// It is about to be signed.
    Signed { digest: B256, signature: Signature },
    /// A quorum signed it.
    Gathered { digest: B256, signatures: BTreeMap<Address, Signature> },
    /// It was cancelled on chain, and can stand there no more.
    Cancelled { digest: B256 },
    /// It was seen on chain.
    Stands { digest: B256, number: u64 },
    /// This oracle posted it.
    Sent { digest: B256, transaction: B256 },
}

/// A root, and what is known of it.
#[derive(Debug, Clone)]
pub struct Root {
    /// The root, and what it was computed from.
    pub proposal: Proposal,
    /// Our signature.
    pub ours: Option<Signature>,
    /// Signatures of a quorum.
    pub signatures: BTreeMap<Address, Signature>,
    /// Its number on chain, when it was seen there last.
    pub number: Option<u64>,
    /// The transaction that this oracle posted it by.
    pub transaction: Option<B256>,
}

/// What names a place in the chain of roots: first and last era, and the root before.
type Place = (u64, u64, B256);

#[derive(Debug, Default)]
struct Known {
    roots: BTreeMap<B256, Root>,
    signed: BTreeMap<Place, B256>,
    /// What was seen last at each number on chain.
    standing: BTreeMap<u64, B256>,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    log: Log,
    ledgers: PathBuf,
    known: Mutex<Known>,
}

fn place(root: &EraRoot) -> Place {
    (root.fromEra, root.toEra, root.previous)
}

impl Known {
    fn apply(&mut self, entry: Entry) {
        let mut change = |digest: &B256, change: &dyn Fn(&mut Root)| {
            if let Some(root) = self.roots.get_mut(digest) {
                change(root);
            }
        };
        match entry {
            Entry::Known { digest, proposal } => {
                let (signatures, ours, number) = (BTreeMap::new(), None, None);
                let root = Root { proposal, ours, signatures, number, transaction: None };
                self.roots.entry(digest).or_insert(root);
            }
            Entry::Signed { digest, signature } => {
                change(&digest, &|root| root.ours = Some(signature));
                if let Some(root) = self.roots.get(&digest) {
                    self.signed.entry(place(&root.proposal.root)).or_insert(digest);
                }
            }
            Entry::Gathered { digest, signatures } => {
                change(&digest, &|root| root.signatures.clone_from(&signatures));
            }
            Entry::Cancelled { digest } => {
                change(&digest, &|root| {
                    root.ours = None;
                    root.signatures.clear();
                });
                self.signed.retain(|_, signed| *signed != digest);
            }
            Entry::Stands { digest, number } => {
                change(&digest, &|root| root.number = Some(number));
                self.standing.insert(number, digest);
            }
            Entry::Sent { digest, transaction } => {
                change(&digest, &|root| root.transaction = Some(transaction));
            }
        }
    }
}

impl Book {
    /// The book of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(folder: &Path) -> Result<Self, BookError> {
        let ledgers = folder.join("ledgers");
        fs::create_dir_all(&ledgers).map_err(file("make", &ledgers))?;
        let (book, torn) = Self::read(folder)?;
        for (number, bytes) in torn {
            warn!(bytes, "cut off what a stop in the middle left of the book of roots");
            book.log.cut(number, bytes)?;
        }
        Ok(book)
    }

    /// The book of a folder that another process may be writing to: nothing is changed there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(folder: &Path) -> Result<Self, BookError> {
        Self::read(folder).map(|(book, _)| book)
    }

    /// The book, and what is torn behind the last whole record of each file, in bytes.
    fn read(folder: &Path) -> Result<(Self, Vec<(u64, u64)>), BookError> {
        let log = Log::open(&folder.join("roots"))?;
        let (mut known, mut torn) = (Known::default(), Vec::new());
        for number in log.files()? {
            let bytes = log.read(number, |_, payload| {
                if let Ok(entry) = serde_json::from_slice(payload) {
                    known.apply(entry);
                }
            })?;
            if bytes > 0 {
                torn.push((number, bytes));
            }
        }
        let ledgers = folder.join("ledgers");
        Ok((Self { log, ledgers, known: Mutex::new(known) }, torn))
    }

    /// Where it is kept.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, from: u64, entry: Entry) -> Result<(), BookError> {
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        self.log.append(from / ROOTS_PER_FILE, &bytes).await?;
        self.known().apply(entry);
        Ok(())
    }

    /// A root.
    #[must_use]
    pub fn root(&self, digest: &B256) -> Option<Root> {
        self.known().roots.get(digest).cloned()
    }

    /// Roots that begin before an era, the newest first, at most so many.
    #[must_use]
    pub fn before(&self, era: u64, most: usize) -> Vec<(B256, Root)> {
        let known = self.known();
        let mut found: Vec<_> = known
            .roots
            .iter()
            .filter(|(_, root)| root.proposal.root.fromEra < era)
            .map(|(digest, root)| (*digest, root))
            .collect();
        found.sort_by_key(|(digest, root)| {
            let EraRoot { fromEra, toEra, .. } = root.proposal.root;
            std::cmp::Reverse((fromEra, toEra, *digest))
        });
        found.into_iter().take(most).map(|(digest, root)| (digest, root.clone())).collect()
    }

    /// What this oracle signed for these eras on top of that root.
    #[must_use]
    pub fn signed(&self, root: &EraRoot) -> Option<(B256, Root)> {
        let known = self.known();
        let digest = known.signed.get(&place(root))?;
        known.roots.get(digest).map(|root| (*digest, root.clone()))
    }

    /// The roots that this oracle signed or has signatures of, on top of a root; the longest first.
    #[must_use]
    pub fn on_top(&self, previous: B256, from: u64) -> Vec<(B256, Root)> {
        let known = self.known();
        let follows = |root: &&Root| {
            let said = &root.proposal.root;
            said.previous == previous && said.fromEra == from
        };
        let mut found: Vec<(B256, Root)> = known
            .roots
            .iter()
            .filter(|(_, root)| follows(root))
            .map(|(digest, root)| (*digest, root.clone()))
            .collect();
        found.sort_by_key(|(_, root)| std::cmp::Reverse(root.proposal.root.toEra));
        found
    }

    /// Remembers a root.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn learn(&self, digest: B256, proposal: Proposal) -> Result<(), BookError> {
        if self.known().roots.contains_key(&digest) {
            return Ok(());
        }
        let from = proposal.root.fromEra;
        self.write(from, Entry::Known { digest, proposal }).await
    }

    /// Remembers that a root that is known is about to be signed. One of these eras on top of that root is signed
    /// ever, unless it is cancelled.
    ///
    /// # Errors
    /// It cannot be written: then the signature must be given to nobody.
    pub async fn sign(&self, digest: B256, from: u64, ours: Signature) -> Result<(), BookError> {
        self.write(from, Entry::Signed { digest, signature: ours }).await
    }

    /// Remembers that a root is cancelled on chain: another may be signed in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn cancelled(&self, digest: B256, from: u64) -> Result<(), BookError> {
        self.write(from, Entry::Cancelled { digest }).await
    }

    /// Remembers the signatures of a quorum.
    ///
    /// # Errors
    /// They cannot be written.
    pub async fn gathered(
        &self,
        digest: B256,
        from: u64,
        signatures: BTreeMap<Address, Signature>,
    ) -> Result<(), BookError> {
        self.write(from, Entry::Gathered { digest, signatures }).await
    }

    /// Remembers that a root stands on chain.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn stands(&self, digest: B256, from: u64, number: u64) -> Result<(), BookError> {
        if self.standing(number) == Some(digest) {
            return Ok(());
        }
        self.write(from, Entry::Stands { digest, number }).await
    }

    /// Remembers by which transaction this oracle posted a root.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn sent(&self, digest: B256, from: u64, transaction: B256) -> Result<(), BookError> {
        let known = self.known().roots.get(&digest).and_then(|root| root.transaction);
        if known == Some(transaction) {
            return Ok(());
        }
        self.write(from, Entry::Sent { digest, transaction }).await
    }

    /// What was seen last at a number on chain.
    #[must_use]
    pub fn standing(&self, number: u64) -> Option<B256> {
        self.known().standing.get(&number).copied()
    }

    fn ledger_path(&self, digest: &B256) -> PathBuf {
        self.ledgers.join(format!("{}.ledger", hex::encode(digest)))
    }

    /// Writes the ledger of a root.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_ledger(&self, digest: &B256, ledger: &Ledger) -> Result<(), BookError> {
        let path = self.ledger_path(digest);
        let aside = path.with_extension("new");
        let mut bytes = Vec::with_capacity(MAGIC.len() + ledger.len() * ENTRY);
        bytes.extend_from_slice(&MAGIC);
        for (node, amounts) in ledger {
            bytes.extend_from_slice(node.as_slice());
            bytes.extend_from_slice(&amounts.reward.to_be_bytes::<32>());
            bytes.extend_from_slice(&amounts.penalty.to_be_bytes::<32>());
            bytes.extend_from_slice(amounts.votes_hash.as_slice());
        }
        let failed = file("write", &path);
        let write = || -> io::Result<()> {
            let mut opened = File::create(&aside)?;
            opened.write_all(&bytes)?;
            opened.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(&self.ledgers)?.sync_all()
        };
        write().map_err(failed)?;
        self.prune()
    }

    /// The ledger of a root, compared with it; none if it is not kept.
    ///
    /// # Errors
    /// It cannot be read, or is another.
    pub fn ledger(&self, digest: &B256, root: &EraRoot) -> Result<Option<Arc<Ledger>>, BookError> {
        let path = self.ledger_path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(file("read", &path)(source)),
        };
        let found = decode(&bytes).filter(|ledger| tree(ledger, root.toEra).root() == root.root);
        found.map(Arc::new).map(Some).ok_or(BookError::Damaged { path })
    }

    fn prune(&self) -> Result<(), BookError> {
        let failed = file("list", &self.ledgers);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.ledgers).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let modified = entry.metadata().and_then(|found| found.modified()).map_err(&failed)?;
            found.push((modified, entry.path()));
        }
        found.sort();
        let many = found.len().saturating_sub(LEDGERS_KEPT);
        for (_, path) in found.into_iter().take(many) {
            fs::remove_file(&path).map_err(file("remove", &path))?;
        }
        Ok(())
    }
}

fn file(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> BookError + use<> {
    let path = path.to_owned();
    move |source| BookError::File { operation, path: path.clone(), source }
}

fn decode(bytes: &[u8]) -> Option<Ledger> {
    let entries = bytes.strip_prefix(MAGIC.as_slice())?;
    let (chunks, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return None;
    }
    let word =
        |entry: &[u8; ENTRY], at: usize| entry.get(at * 32..(at + 1) * 32).map(B256::from_slice);
    let entry = |bytes: &[u8; ENTRY]| {
        let number = |at| word(bytes, at).map(|word| U256::from_be_bytes(word.0));
        let (reward, penalty, votes_hash) = (number(1)?, number(2)?, word(bytes, 3)?);
        Some((word(bytes, 0)?, Amounts { reward, penalty, votes_hash }))
    };
    chunks.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let amounts = |number: u8| Amounts {
            reward: U256::from(number) << 90,
            penalty: U256::from(number),
            votes_hash: B256::repeat_byte(number),
        };
        (1..=3).map(|number| (B256::repeat_byte(number), amounts(number))).collect()
    }

    fn proposal(to: u64, total: u64) -> (B256, Proposal) {
        let root = EraRoot {
            fromEra: 5,
            toEra: to,
            previous: B256::repeat_byte(9),
            root: tree(&ledger(), to).root(),
            votesRoot: B256::ZERO,
            totalReward: U256::from(total),
            totalPenalty: U256::ZERO,
            configDigest: B256::ZERO,
        };
        (
            B256::from(U256::from(to * 100 + total)),
            Proposal { root, sets: Vec::new(), voided: Vec::new() },
        )
    }

    #[tokio::test]
    async fn what_was_signed_is_known_after_a_restart_and_stays_the_one_of_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let (digest, first) = proposal(6, 1);
        let signature = Signature([7; 65]);
        let book = Book::open(dir.path()).expect("a book");
        assert!(book.signed(&first.root).is_none());
        book.learn(digest, first.clone()).await.expect("written");
        assert!(book.signed(&first.root).is_none(), "to know one is not to sign it");
        book.sign(digest, 5, signature).await.expect("written");
        book.stands(digest, 5, 3).await.expect("written");
        drop(book);
        let book = Book::open(dir.path()).expect("a book");
        let (second, other) = proposal(6, 2);
        let (found, root) = book.signed(&other.root).expect("the same place");
        assert_eq!((found, root.ours, root.number), (digest, Some(signature), Some(3)));
        assert_eq!(book.standing(3), Some(digest));
        book.learn(second, other.clone()).await.expect("written");
        book.sign(second, 5, signature).await.expect("written");
        assert_eq!(book.signed(&other.root).map(|(found, _)| found), Some(digest));
        let (_, longer) = proposal(7, 1);
        assert!(book.signed(&longer.root).is_none(), "another range is another place");
        assert_eq!(book.on_top(first.root.previous, 5).len(), 2);
        assert_eq!((book.before(5, 9).len(), book.before(6, 1).len()), (0, 1));
    }

    #[tokio::test]
    async fn in_the_place_of_one_that_was_cancelled_another_is_signed() {
        let dir = tempfile::tempdir().expect("a folder");
        let signature = Signature([7; 65]);
        let ((one, first), (two, second)) = (proposal(6, 1), proposal(6, 2));
        let book = Book::open(dir.path()).expect("a book");
        for (digest, proposal) in [(one, &first), (two, &second)] {
            book.learn(digest, proposal.clone()).await.expect("written");
        }
        book.sign(one, 5, signature).await.expect("written");
        book.gathered(one, 5, BTreeMap::from([(Address::ZERO, signature)])).await.expect("written");
        book.cancelled(one, 5).await.expect("written");
        assert!(book.signed(&first.root).is_none());
        book.sign(two, 5, signature).await.expect("written");
        drop(book);
        let book = Book::open(dir.path()).expect("a book");
        assert_eq!(book.signed(&first.root).map(|(found, _)| found), Some(two));
        let root = book.root(&one).expect("known");
        assert!(root.ours.is_none() && root.signatures.is_empty());
    }

    #[test]
    fn a_ledger_is_kept_and_one_that_is_not_its_roots_is_found_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let book = Book::open(dir.path()).expect("a book");
        let (digest, Proposal { root, .. }) = proposal(6, 1);
        assert!(book.ledger(&digest, &root).expect("read").is_none());
        book.keep_ledger(&digest, &ledger()).expect("written");
        let found = book.ledger(&digest, &root).expect("read").expect("kept");
        assert_eq!(*found, ledger());
        let path = book.ledger_path(&digest);
        let whole = fs::read(&path).expect("bytes");
        for at in [0, MAGIC.len() + 33, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("written");
            assert!(matches!(book.ledger(&digest, &root), Err(BookError::Damaged { .. })), "{at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert!(matches!(book.ledger(&digest, &root), Err(BookError::Damaged { .. })));
    }
}
