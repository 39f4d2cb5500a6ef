//! A small store of made-up objects that can prove what it has: what tests and simulated nodes answer
//! challenges from.

use agent_proofs::member::{Commitment, Member, MemberProof, Node, beside, top};
use agent_proofs::slice::{Prover, rounded};
use agent_proofs::tree::{ChainingValue, leaves};
use agent_proofs::{Content, ProofError};
use agent_sla::protocol::messages::Sample;
use agent_sla::protocol::sampling::{group_of, positions};
use agent_sla::protocol::signed::ChallengeRequest;
use agent_sla::protocol::{Address, B256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Sizes of the objects in bytes: below and above a group, and at its edges.
const SIZES: [u64; 16] = [
    1, 1000, 16_383, 16_384, 16_385, 40_000, 100_000, 262_144, 5, 65_536, 300_000, 20_000, 12,
    7777, 131_072, 50_001,
];

/// A salt that nobody has to keep secret here.
const SALT: [u8; 32] = [3; 32];

struct Object {
    member: Member,
    bytes: Vec<u8>,
    leaves: Vec<ChainingValue>,
}

/// Objects, and the commitment to them.
pub struct Store {
    objects: Vec<Object>,
    nodes: Vec<Node>,
    /// What the node commits to.
    pub commitment: Commitment,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("commitment", &self.commitment).finish_non_exhaustive()
    }
}

impl Store {
    /// The store of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let object = |(number, size): (u64, u64)| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(&number.to_le_bytes());
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            hasher.finalize_xof().fill(&mut bytes);
            let content = Content { root: *blake3::hash(&bytes).as_bytes(), size, parts: 0 };
            let key = format!("{number:04}");
            let member = Member { bucket: "bucket".to_owned(), key, version: 1, content };
            Object { member, leaves: leaves(&bytes), bytes }
        };
        let objects: Vec<_> = (0..).zip(SIZES).map(object).collect();
        // Names are short, so each has a leaf.
        let nodes: Vec<_> = objects.iter().filter_map(|o| o.member.leaf(&SALT).ok()).collect();
        let commitment = Commitment::new(nodes.len() as u64, top(&nodes));
        Self { objects, nodes, commitment }
    }

    /// A request with what is committed to; for whom and when is to be filled in.
    #[must_use]
    pub fn request(&self) -> ChallengeRequest {
        ChallengeRequest {
            nodeId: B256::ZERO,
            oracleId: Address::ZERO,
            era: 0,
            nonce: B256::ZERO,
            dataRoot: B256::from(self.commitment.root),
            objects: self.commitment.count,
            totalBytes: self.commitment.bytes,
            configDigest: B256::ZERO,
        }
    }

    /// What proves the bytes that a beacon asks for.
    #[must_use]
    pub fn answer(&self, beacon: &B256, samples: u16) -> Vec<Sample> {
        let asked = positions(beacon, samples, self.commitment.bytes);
        asked.into_iter().map(|position| self.sample(position)).collect()
    }

    /// What proves one byte.
    #[must_use]
    pub fn sample(&self, position: u64) -> Sample {
        match self.prove(position) {
            Ok((member, slice)) => {
                Sample::Proven { member: STANDARD.encode(member), slice: STANDARD.encode(slice) }
            }
            Err(error) => Sample::Failed { reason: error.to_string() },
        }
    }

    fn prove(&self, position: u64) -> Result<(Vec<u8>, Vec<u8>), ProofError> {
        let outside =
            ProofError::Outside { start: position, end: position, size: self.commitment.bytes };
        let mut at = position;
        for (index, object) in self.objects.iter().enumerate() {
            let Content { size, .. } = object.member.content;
            if at >= size {
                at -= size;
                continue;
            }
            let proof = MemberProof {
                member: object.member.clone(),
                position: index as u64,
                salt: SALT,
                beside: beside(&self.nodes, index),
            };
            let range = group_of(at, size);
            let bytes = rounded(size, &range)?;
            let place = usize::try_from(bytes.start).ok().zip(usize::try_from(bytes.end).ok());
            let read = place.and_then(|(start, end)| object.bytes.get(start..end));
            let mut prover = Prover::new(&object.member.content, &range)?;
            prover.piece(size, &range, &object.leaves, read.ok_or(outside)?)?;
            return Ok((proof.to_bytes()?, prover.finish()));
        }
        Err(outside)
    }
}
