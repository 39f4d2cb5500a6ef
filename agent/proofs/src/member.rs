//! Proofs that an object belonged to what was stored at the cut of an era.
//!
//! ```text
//! leaf    BLAKE3(0 | salt | member), and the object's size
//! node    BLAKE3(1 | left hash | left bytes u64 | right hash | right bytes u64), and the sum of both
//! root    BLAKE3(2 | count u64 | bytes u64 | hash of the topmost node, zeros if there is none)
//!
//! member  length u16 | bucket | length u16 | key | version u64 | size u64 | parts u16 | root
//! proof   form u8 (1) | position u64 | salt (32) | nodes u8 | nodes beside the way up, lowest first:
//!         hash (32) | bytes u64; each | member
//! ```
//!
//! Leaves stand in the order of (bucket, key); a node that is alone on its level goes up as it is. As
//! nodes carry sums, a byte of the whole store that was drawn at random names one object, and the total
//! cannot be more than the sum of the sizes. The salt is secret until the object is shown, so that a
//! hash beside the way tells nothing of names. What does show is how many objects and bytes come before.

use std::ops::Range;

use crate::wire::Reader;
use crate::{Content, ProofError, Root};

/// The form of proofs that is written here.
const FORM: u8 = 1;

/// What a hash is of.
const LEAF: u8 = 0;
const NODE: u8 = 1;
const ROOT: u8 = 2;

/// The most nodes beside a way.
const NODES_MAX: u8 = 64;

/// An object as the commitment has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its bucket's name.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Its bytes.
    pub content: Content,
}

/// A hash and the bytes of all objects below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The hash.
    pub hash: Root,
    /// Bytes.
    pub bytes: u64,
}

/// The commitment to everything that was stored at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// The root.
    pub root: Root,
    /// Objects.
    pub count: u64,
    /// Bytes of the objects, as their readers count them.
    pub bytes: u64,
}

/// A proof that an object belongs to a commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberProof {
    /// The object.
    pub member: Member,
    /// How many come before it.
    pub position: u64,
    /// Its salt.
    pub salt: [u8; 32],
    /// The nodes beside the way from the leaf to the root, lowest first.
    pub beside: Vec<Node>,
}

impl Member {
    /// Appends the bytes that are hashed.
    ///
    /// # Errors
    /// A name is longer than 64 KiB.
    pub fn write(&self, to: &mut Vec<u8>) -> Result<(), ProofError> {
        for name in [&self.bucket, &self.key] {
            let length = u16::try_from(name.len()).map_err(|_| ProofError::Malformed)?;
            to.extend_from_slice(&length.to_le_bytes());
            to.extend_from_slice(name.as_bytes());
        }
        let Content { root, size, parts } = self.content;
        to.extend_from_slice(&self.version.to_le_bytes());
        to.extend_from_slice(&size.to_le_bytes());
        to.extend_from_slice(&parts.to_le_bytes());
        to.extend_from_slice(&root);
        Ok(())
    }

    /// The member at the start of some bytes, and the bytes behind it.
    ///
    /// # Errors
    /// There is none.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), ProofError> {
        let mut from = Reader::new(bytes);
        let (bucket, key, version) = (from.text()?, from.text()?, from.u64()?);
        let (size, parts) = (from.u64()?, from.u16()?);
        let content = Content { size, parts, root: from.root()? };
        Ok((Self { bucket, key, version, content }, from.rest()))
    }

    /// Its leaf.
    ///
    /// # Errors
    /// As [`Member::write`].
    pub fn leaf(&self, salt: &[u8; 32]) -> Result<Node, ProofError> {
        let mut bytes = vec![LEAF];
        bytes.extend_from_slice(salt);
        self.write(&mut bytes)?;
        Ok(Node { hash: *blake3::hash(&bytes).as_bytes(), bytes: self.content.size })
    }
}

/// The node above two others.
#[must_use]
pub fn parent(left: &Node, right: &Node) -> Node {
    let mut bytes = [0; 81];
    let fields: [&[u8]; 5] =
        [&[NODE], &left.hash, &left.bytes.to_le_bytes(), &right.hash, &right.bytes.to_le_bytes()];
    let mut rest = bytes.as_mut_slice();
    for field in fields {
        let (now, later) = rest.split_at_mut(field.len());
        now.copy_from_slice(field);
        rest = later;
    }
    let sum = left.bytes.saturating_add(right.bytes);
    Node { hash: *blake3::hash(&bytes).as_bytes(), bytes: sum }
}

/// The level above another one.
fn above(level: &[Node]) -> Vec<Node> {
    let pairs = level.chunks(2).filter_map(|pair| match pair {
        [left, right] => Some(parent(left, right)),
        [alone] => Some(*alone),
        _ => None,
    });
    pairs.collect()
}

/// The topmost node above some; none above none.
#[must_use]
pub fn top(nodes: &[Node]) -> Option<Node> {
    let mut level = nodes.to_vec();
    while level.len() > 1 {
        level = above(&level);
    }
    level.first().copied()
}

/// The nodes beside the way from one of some nodes to their topmost one, lowest first.
#[must_use]
pub fn beside(nodes: &[Node], mut index: usize) -> Vec<Node> {
    let (mut level, mut found) = (nodes.to_vec(), Vec::new());
    while level.len() > 1 {
        found.extend(level.get(index ^ 1));
        level = above(&level);
        index /= 2;
    }
    found
}

impl Commitment {
    /// The commitment to so many objects.
    #[must_use]
    pub fn new(count: u64, top: Option<Node>) -> Self {
        let Node { hash, bytes } = top.unwrap_or(Node { hash: [0; 32], bytes: 0 });
        let root = blake3::Hasher::new()
            .update(&[ROOT])
            .update(&count.to_le_bytes())
            .update(&bytes.to_le_bytes())
            .update(&hash)
            .finalize();
        Self { root: *root.as_bytes(), count, bytes }
    }
}

impl MemberProof {
    /// Whether the object belongs to the commitment; which of all bytes, in the order of the objects,
    /// are its own.
    ///
    /// # Errors
    /// It does not.
    pub fn verify(&self, commitment: &Commitment) -> Result<Range<u64>, ProofError> {
        let (mut index, mut count) = (self.position, commitment.count);
        if index >= count {
            return Err(ProofError::Other("number of objects"));
        }
        let broken = ProofError::Broken("the object");
        let (mut node, mut before) = (self.member.leaf(&self.salt)?, 0_u64);
        let mut beside = self.beside.iter();
        while count > 1 {
            if index ^ 1 < count {
                let other = beside.next().ok_or(ProofError::Malformed)?;
                // Sums are sums.
                node.bytes.checked_add(other.bytes).ok_or(broken)?;
                node = if index.is_multiple_of(2) {
                    parent(&node, other)
                } else {
                    before = before.checked_add(other.bytes).ok_or(broken)?;
                    parent(other, &node)
                };
            }
            index /= 2;
            count = count.div_ceil(2);
        }
        if beside.next().is_some() {
            return Err(ProofError::Malformed);
        }
        if Commitment::new(commitment.count, Some(node)) != *commitment {
            return Err(broken);
        }
        Ok(before..before.saturating_add(self.member.content.size))
    }

    /// The proof as it goes over the wire.
    ///
    /// # Errors
    /// It is none of a tree that can be.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProofError> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        let count = u8::try_from(self.beside.len()).ok().filter(|count| *count <= NODES_MAX);
        bytes.push(count.ok_or(ProofError::Malformed)?);
        for Node { hash, bytes: below } in &self.beside {
            bytes.extend_from_slice(hash);
            bytes.extend_from_slice(&below.to_le_bytes());
        }
        self.member.write(&mut bytes)?;
        Ok(bytes)
    }

    /// A proof that came over the wire.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut from = Reader::new(bytes);
        if from.u8()? != FORM {
            return Err(ProofError::Malformed);
        }
        let (position, salt, count) = (from.u64()?, from.array()?, from.u8()?);
        if count > NODES_MAX {
            return Err(ProofError::Malformed);
        }
        let node = |_| Ok(Node { hash: from.root()?, bytes: from.u64()? });
        let beside = (0..count).map(node).collect::<Result<_, ProofError>>()?;
        match Member::read(from.rest())? {
            (member, []) => Ok(Self { member, position, salt, beside }),
            _ => Err(ProofError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(number: u64) -> Member {
        let content = Content { root: [3; 32], size: number * 1000 % 7777, parts: 0 };
        Member { bucket: "b".into(), key: format!("key-{number:05}"), version: number, content }
    }

    fn salt(number: u64) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    /// The same tree, told another way: the left one holds the largest power of two.
    fn naive(leaves: &[Node]) -> Option<Node> {
        match leaves {
            [] => None,
            [alone] => Some(*alone),
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                Some(parent(&naive(left)?, &naive(right)?))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Node> {
        (0..count).map(|number| member(number).leaf(&salt(number)).unwrap()).collect()
    }

    #[test]
    fn every_object_is_proven_at_its_place_only() {
        for count in (0..20).chain([255, 256, 257, 600]) {
            let leaves = leaves(count);
            assert_eq!(top(&leaves), naive(&leaves));
            let commitment = Commitment::new(count, top(&leaves));
            let mut before = 0;
            for (number, leaf) in (0_u64..).zip(&leaves) {
                let beside = beside(&leaves, usize::try_from(number).unwrap());
                let proof = MemberProof {
                    member: member(number),
                    position: number,
                    salt: salt(number),
                    beside,
                };
                assert_eq!(proof.verify(&commitment), Ok(before..before + leaf.bytes));
                let again = MemberProof::from_bytes(&proof.to_bytes().unwrap()).unwrap();
                assert_eq!(again, proof);
                before += leaf.bytes;
                let other = MemberProof { position: number + 1, ..proof.clone() };
                assert!(other.verify(&commitment).is_err());
                let more = Commitment { bytes: commitment.bytes + 1, ..commitment };
                assert!(proof.verify(&more).is_err());
                let more = Commitment { count: count + 1, ..commitment };
                assert!(proof.verify(&more).is_err());
            }
            assert_eq!(commitment.bytes, before);
        }
    }

    #[test]
    fn sums_that_run_over_are_refused() {
        let leaf = member(1).leaf(&salt(1)).unwrap();
        let huge = Node { hash: [1; 32], bytes: u64::MAX };
        let commitment = Commitment::new(2, Some(parent(&leaf, &huge)));
        let proof =
            MemberProof { member: member(1), position: 0, salt: salt(1), beside: vec![huge] };
        assert_eq!(proof.verify(&commitment), Err(ProofError::Broken("the object")));
    }

    proptest! {
        #[test]
        fn a_proof_with_one_bit_wrong_does_not_hold(count in 1_u64..40, dice: u64) {
            let leaves = leaves(count);
            let commitment = Commitment::new(count, top(&leaves));
            let number = dice % count;
            let proof = MemberProof {
                member: member(number),
                position: number,
                salt: salt(number),
                beside: beside(&leaves, usize::try_from(number).unwrap()),
            };
            let mut bytes = proof.to_bytes().unwrap();
            let place = usize::try_from((dice >> 8) % bytes.len() as u64).unwrap();
            bytes[place] ^= 1 << (dice >> 61);
            let holds = MemberProof::from_bytes(&bytes).and_then(|proof| proof.verify(&commitment));
            prop_assert!(holds.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(proof) = MemberProof::from_bytes(&bytes) {
                prop_assert!(proof.verify(&Commitment::new(1, None)).is_err());
            }
        }
    }
}
