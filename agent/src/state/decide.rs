//! Which record counts, where it is to be written, and whether one may be made. Pure.

use std::path::PathBuf;

use super::record::{Record, RecordError};

/// What stands on one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// No record.
    Nothing,
    /// A record.
    Record(Box<Record>),
    /// A file that is no record this release can use.
    Unusable(RecordError),
    /// The file could not be read; the reason in words.
    Unreadable(String),
}

/// A mounted volume and what stands on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeFound {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// What stands there.
    pub(crate) found: Found,
}

/// What is known of the disks beside the volumes themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// This node.
    pub(crate) node_id: String,
    /// Disks of this node that are not there or cannot be used, by name.
    pub(crate) absent: Vec<String>,
    /// Whether some of those are waited for: so short after a start they may only not be mounted yet.
    pub(crate) is_early: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// This record counts. Write it to these volumes, after setting aside what stands there.
    Use {
        /// The record.
        record: Box<Record>,
        /// Volumes without it.
        write: Vec<Write>,
    },
    /// There is none and never was: make one.
    Make,
    /// There is none, but there may have been one; why, and what to do, in words.
    Wait(String),
}

/// A volume to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// Whether a damaged file stands there that is to be kept under another name.
    pub(crate) set_aside: bool,
}

/// What of two records of a node counts: those of before a factory reset are all older than those after it.
fn age(record: &Record) -> (u64, u64) {
    (record.state.resets, record.generation)
}

/// Decides. `current` is the record in use, if any; of two different records of one generation it
/// stays, and one of after a factory reset that it does not know of, or of another one, never takes its place: what is in use
/// would have to be emptied.
pub(crate) fn decide(
    current: Option<&Record>,
    volumes: &[VolumeFound],
    surroundings: &Surroundings,
) -> Decision {
    let ours = |record: &&Record| {
        record.state.node_id == surroundings.node_id
            && current.is_none_or(|current| record.state.is_of_one_time(&current.state))
    };
    let on_volumes = volumes.iter().filter_map(|volume| match &volume.found {
        Found::Record(record) => Some(&**record),
        _ => None,
    });
    // The first of the newest stays.
    let newest = current
        .into_iter()
        .chain(on_volumes)
        .filter(ours)
        .reduce(|best, next| if age(next) > age(best) { next } else { best });
    match newest {
        Some(_) if current.is_none() && surroundings.is_early => Decision::Wait(
            "some disks are still looked at or mounted, and the newest record may be on one of them: they are waited for, \
             some minutes at most"
                .to_owned(),
        ),
        Some(record) => {
            Decision::Use { record: Box::new(record.clone()), write: lacking(record, volumes) }
        }
        None => make_or_wait(volumes, surroundings),
    }
}

fn lacking(record: &Record, volumes: &[VolumeFound]) -> Vec<Write> {
    let write = |volume: &VolumeFound| {
        let set_aside = match &volume.found {
            Found::Nothing => false,
            Found::Record(found) if **found == *record => return None,
            // An older generation, or another node's: superseded by rule.
            Found::Record(_) => false,
            Found::Unusable(RecordError::Damaged(_)) => true,
            Found::Unusable(RecordError::Newer { .. }) | Found::Unreadable(_) => return None,
        };
        Some(Write { mount: volume.mount.clone(), set_aside })
    };
    volumes.iter().filter_map(write).collect()
}

/// Whether something that no record has can be made: only where no record can be hidden.
pub(crate) fn may_make(volumes: &[VolumeFound], surroundings: &Surroundings) -> bool {
    make_or_wait(volumes, surroundings) == Decision::Make
}

fn make_or_wait(volumes: &[VolumeFound], surroundings: &Surroundings) -> Decision {
    if volumes.is_empty() {
        return Decision::Wait("no disk of this node is in use yet".to_owned());
    }
    if !surroundings.absent.is_empty() {
        return Decision::Wait(format!(
            "certificate, first user and key of this node stand on none of the disks present; they \
             may be on the missing ones ({}): plug those in",
            surroundings.absent.join(", ")
        ));
    }
    let unclear = volumes.iter().find_map(|volume| {
        let why = match &volume.found {
            Found::Unusable(error @ RecordError::Newer { .. }) => error.to_string(),
            Found::Unreadable(why) => why.clone(),
            _ => return None,
        };
        Some((volume.mount.display(), why))
    });
    match unclear {
        Some((mount, why)) => Decision::Wait(format!(
            "certificate, first user and key of this node cannot be read on {mount} ({why}): start \
             the release that wrote them, or replace the disk"
        )),
        None => Decision::Make,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::example;

    fn at(mount: &str, found: Found) -> VolumeFound {
        VolumeFound { mount: PathBuf::from(mount), found }
    }

    fn node() -> Surroundings {
        Surroundings { node_id: "n1".to_owned(), absent: Vec::new(), is_early: false }
    }

    fn damaged() -> Found {
        Found::Unusable(RecordError::Damaged("torn".to_owned()))
    }

    fn writes(decision: &Decision) -> Vec<(&str, bool)> {
        let Decision::Use { write, .. } = decision else { panic!("{decision:?}") };
        write.iter().map(|w| (w.mount.to_str().expect("UTF-8"), w.set_aside)).collect()
    }

    #[test]
    fn a_fresh_node_makes_its_state() {
        assert_eq!(decide(None, &[at("/a", Found::Nothing)], &node()), Decision::Make);
    }

    #[test]
    fn nothing_is_made_without_a_volume() {
        assert!(matches!(decide(None, &[], &node()), Decision::Wait(_)));
    }

    #[test]
    fn nothing_is_made_while_a_disk_is_missing() {
        let surroundings = Surroundings { absent: vec!["wwn-1".to_owned()], ..node() };
        let decision = decide(None, &[at("/a", Found::Nothing)], &surroundings);
        let Decision::Wait(why) = decision else { panic!("{decision:?}") };
        assert!(why.contains("wwn-1"), "{why}");
    }

    #[test]
    fn a_record_is_used_though_a_disk_is_missing() {
        let surroundings = Surroundings { absent: vec!["wwn-1".to_owned()], ..node() };
        let volumes = [at("/a", Found::Record(Box::new(example("n1", 1))))];
        assert!(matches!(decide(None, &volumes, &surroundings), Decision::Use { .. }));
    }

    #[test]
    fn the_newest_generation_wins_and_goes_to_the_others() {
        let volumes = [
            at("/old", Found::Record(Box::new(example("n1", 1)))),
            at("/new", Found::Record(Box::new(example("n1", 2)))),
            at("/none", Found::Nothing),
            at("/torn", damaged()),
        ];
        let decision = decide(None, &volumes, &node());
        assert!(matches!(&decision, Decision::Use { record, .. } if record.generation == 2));
        assert_eq!(writes(&decision), [("/old", false), ("/none", false), ("/torn", true)]);
    }

    #[test]
    fn a_record_of_before_a_factory_reset_is_older_whatever_its_generation() {
        let mut new = example("n1", 3);
        new.state.resets = 1;
        let old = Found::Record(Box::new(example("n1", 9)));
        let volumes = [at("/old", old), at("/new", Found::Record(Box::new(new.clone())))];
        let decision = decide(None, &volumes, &node());
        assert!(matches!(&decision, Decision::Use { record, .. } if **record == new));
        assert_eq!(writes(&decision), [("/old", false)]);
    }

    #[test]
    fn a_record_of_after_a_factory_reset_takes_no_record_out_of_use() {
        let mut later = example("n1", 9);
        later.state.resets = 1;
        let current = example("n1", 3);
        let volumes = [at("/later", Found::Record(Box::new(later)))];
        let decision = decide(Some(&current), &volumes, &node());
        assert!(matches!(&decision, Decision::Use { record, .. } if **record == current));
    }

    #[test]
    fn disks_that_are_not_mounted_yet_may_have_a_newer_record_and_are_waited_for() {
        let volumes = [at("/a", Found::Record(Box::new(example("n1", 3))))];
        let late = Surroundings { absent: vec!["wwn-1".to_owned()], ..node() };
        let early = Surroundings { is_early: true, ..late.clone() };
        let decision = decide(None, &volumes, &early);
        assert!(matches!(&decision, Decision::Wait(_)), "{decision:?}");
        let in_use = example("n1", 3);
        for decision in [decide(None, &volumes, &late), decide(Some(&in_use), &volumes, &early)] {
            assert!(matches!(decision, Decision::Use { .. }), "{decision:?}");
        }
    }

    #[test]
    fn of_two_records_of_one_generation_the_one_in_use_stays() {
        let mut other = example("n1", 3);
        other.state.first_user.access_key = "OTHER".to_owned();
        let current = example("n1", 3);
        let decision = decide(Some(&current), &[at("/a", Found::Record(Box::new(other)))], &node());
        assert!(matches!(&decision, Decision::Use { record, .. } if **record == current));
        assert_eq!(writes(&decision), [("/a", false)]);
    }

    #[test]
    fn a_record_of_another_node_counts_as_none() {
        let volumes = [at("/a", Found::Record(Box::new(example("n2", 9))))];
        assert_eq!(decide(None, &volumes, &node()), Decision::Make);
    }

    #[test]
    fn a_record_of_a_later_release_stops_the_making_and_is_never_overwritten() {
        let later = Found::Unusable(RecordError::Newer { found: 2 });
        let volumes = [at("/a", later.clone()), at("/b", Found::Nothing)];
        assert!(matches!(decide(None, &volumes, &node()), Decision::Wait(_)));
        let decision = decide(Some(&example("n1", 1)), &volumes, &node());
        assert_eq!(writes(&decision), [("/b", false)]);
    }

    #[test]
    fn a_volume_that_cannot_be_read_stops_the_making() {
        let volumes =
            [at("/a", Found::Unreadable("I/O error".to_owned())), at("/b", Found::Nothing)];
        assert!(matches!(decide(None, &volumes, &node()), Decision::Wait(_)));
    }

    #[test]
    fn a_damaged_record_alone_is_set_aside_for_a_new_one() {
        assert_eq!(decide(None, &[at("/a", damaged())], &node()), Decision::Make);
    }
}
