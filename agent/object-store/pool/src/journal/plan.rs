//! Which of the records that wait go into the next frame.

use super::frame::{FRAME, framed, in_body};

/// What a lane does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Write the first so many records as one frame.
    Frame(usize),
    /// Take another segment: the first does not fit this one.
    NewSegment,
}

/// Plans for records with these lengths of content, the first one first, with `room` bytes left in
/// the segment. A frame has at most `frame_bytes_max`, unless its only record is longer.
pub(super) fn plan(
    contents: impl IntoIterator<Item = usize>,
    room: u64,
    frame_bytes_max: usize,
) -> Plan {
    let (mut body, mut count) = (0, 0);
    for content in contents {
        let longer = body + in_body(content);
        let is_too_long = count > 0 && FRAME + longer > frame_bytes_max;
        if is_too_long || framed(longer) as u64 > room {
            break;
        }
        (body, count) = (longer, count + 1);
    }
    if count == 0 { Plan::NewSegment } else { Plan::Frame(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plans_are_these() {
        // A record takes 28 bytes beside its content, a frame 32.
        let table: &[(&[usize], u64, usize, Plan)] = &[
            (&[0], 4096, 0, Plan::Frame(1)),
            (&[0], 4095, 8192, Plan::NewSegment),
            (&[4096 - 60], 4096, 4096, Plan::Frame(1)),
            (&[4096 - 59], 4096, 8192, Plan::NewSegment),
            (&[100, 100, 100], 1 << 20, 32 + 2 * 128, Plan::Frame(2)),
            (&[100, 100, 100], 1 << 20, 32 + 3 * 128, Plan::Frame(3)),
            // Longer than a frame: alone.
            (&[9000, 1], 1 << 20, 4096, Plan::Frame(1)),
            (&[1, 9000], 1 << 20, 4096, Plan::Frame(1)),
            // As many as the rest of the segment takes.
            (&[4000, 4000, 4000], 8192, 1 << 20, Plan::Frame(2)),
        ];
        for (contents, room, max, expected) in table {
            assert_eq!(plan(contents.iter().copied(), *room, *max), *expected, "{contents:?}");
        }
    }

    proptest! {
        #[test]
        fn a_plan_fits_and_takes_all_that_fits(
            contents in proptest::collection::vec(0_usize..9000, 1..20),
            room in 0_u64..40_000,
            max in 0_usize..40_000,
        ) {
            let bytes = |count: usize| -> usize {
                contents[..count].iter().map(|content| in_body(*content)).sum()
            };
            let fits = |count: usize| {
                framed(bytes(count)) as u64 <= room && (count == 1 || FRAME + bytes(count) <= max)
            };
            match plan(contents.iter().copied(), room, max) {
                Plan::NewSegment => prop_assert!(!fits(1)),
                Plan::Frame(count) => {
                    prop_assert!(fits(count));
                    prop_assert!(count == contents.len() || !fits(count + 1));
                }
            }
        }
    }
}
