//! Which volume takes a new object. Pure: the volumes and their free space are arguments.

use crate::names::VolumeId;

/// A volume that may take an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The volume.
    pub id: VolumeId,
    /// Bytes that it still takes, without the reserve.
    pub free_bytes: u64,
}

/// Chooses a volume for `wanted` bytes: by weighted rendezvous hashing, so that a volume gets
/// objects in proportion to its free space, and the same name goes to the same volume as long as
/// little changes. None if no volume has room.
#[must_use]
pub fn choose(candidates: &[Candidate], name_hash: u64, wanted: u64) -> Option<&VolumeId> {
    candidates
        .iter()
        .filter(|c| c.free_bytes > 0 && c.free_bytes >= wanted)
        .max_by(|a, b| score(a, name_hash).total_cmp(&score(b, name_hash)))
        .map(|c| &c.id)
}

/// `-weight / ln(u)` with u in (0, 1): the greatest wins with a probability that is proportional to
/// its weight (Schindelhauer and Schomaker, 2005).
fn score(candidate: &Candidate, name_hash: u64) -> f64 {
    let mixed = mix(name_hash ^ fold(candidate.id.as_str()));
    // 52 bits fit an f64 exactly; half a step keeps u off both ends.
    #[expect(clippy::cast_precision_loss, reason = "52 bits fit an f64 exactly")]
    let u = ((mixed >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    // Weighted by GiB, so that small changes of free space seldom move a name.
    let gibibytes = u32::try_from((candidate.free_bytes >> 30).max(1)).unwrap_or(u32::MAX);
    -f64::from(gibibytes) / u.ln()
}

fn fold(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn volumes(free: &[u64]) -> Vec<Candidate> {
        let id = |i| VolumeId::new(&format!("v{i}")).unwrap();
        free.iter().enumerate().map(|(i, f)| Candidate { id: id(i), free_bytes: *f }).collect()
    }

    #[test]
    fn a_volume_without_room_is_never_chosen() {
        assert_eq!(choose(&[], 7, 1), None);
        assert_eq!(choose(&volumes(&[10, 0]), 7, 11), None);
        for hash in 0..1000 {
            let set = volumes(&[10, 20]);
            assert_eq!(choose(&set, hash, 15).unwrap().as_str(), "v1");
        }
    }

    #[test]
    fn objects_spread_in_proportion_to_free_space() {
        let set = volumes(&[100 * GIB, 300 * GIB]);
        let hits = (0..10_000_u64).filter(|i| choose(&set, mix(*i), 1) == Some(&set[1].id)).count();
        assert!((7_300..7_700).contains(&hits), "{hits}");
    }

    #[test]
    fn a_name_stays_where_it_is_when_a_volume_joins_elsewhere() {
        let two = volumes(&[GIB, GIB]);
        let three = volumes(&[GIB, GIB, GIB]);
        let moved = (0..3_000_u64)
            .map(mix)
            .filter(|h| {
                let to = choose(&three, *h, 1).unwrap();
                choose(&two, *h, 1).unwrap() != to && to.as_str() != "v2"
            })
            .count();
        assert_eq!(moved, 0);
    }
}
