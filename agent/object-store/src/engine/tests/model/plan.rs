//! What may happen next: the reference state knows just enough to ask for nothing that loses data by
//! design, such as more volumes than there is parity.

use std::collections::BTreeSet;

use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::sim::{Cut, Fault};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// Keys that are written to.
const KEYS: u8 = 6;

/// Uploads that are open at a time.
const UPLOADS: u8 = 2;

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Put {
        key: u8,
        size: usize,
    },
    Delete {
        key: u8,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Range {
        key: u8,
        from: u32,
        length: u32,
    },
    Begin {
        key: u8,
    },
    Part {
        upload: u8,
        part: u16,
        size: usize,
    },
    Complete {
        upload: u8,
    },
    Abort {
        upload: u8,
    },
    Pack,
    Checkpoint,
    /// The index gets a standby on another volume, which is named when it is whole.
    Standby,
    /// Whatever follows may fail, or be lost.
    Break(Breakage),
    /// The volume is pulled.
    Pull(u16),
    /// Bits of a volume flip.
    Rot {
        volume: u16,
        seed: u64,
    },
    /// So many bytes of room are left.
    Fill(u64),
    /// The machine starts again. Without its index it goes on with the standby, where there is one.
    Reboot {
        cut: Cut,
        keeps_index: bool,
    },
    /// All volumes are plugged in again, the machine starts, and all that is wanting is made good.
    Mend,
}

/// A fault that is set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Breakage {
    Power(u64),
    Error(u64),
    Write(u64),
    Sync(u64),
    Lost(u64),
    Misdirected(u64, u64),
    Flipped(u64, u64),
}

impl Breakage {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Power(at) => Fault::PowerAt(at),
            Self::Error(at) => Fault::ErrorAt(at),
            Self::Write(at) => Fault::WriteErrorAt(at),
            Self::Sync(at) => Fault::SyncErrorAt(at),
            Self::Lost(at) => Fault::LostWriteAt(at),
            Self::Misdirected(at, seed) => Fault::MisdirectedWriteAt(at, seed),
            Self::Flipped(at, seed) => Fault::FlipOnReadAt(at, seed),
        }
    }

    /// Whether a volume may be harmed by it, beyond what a reboot makes good.
    fn harms(self) -> bool {
        !matches!(self, Self::Power(_) | Self::Flipped(..))
    }
}

/// The reference.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub volumes: u16,
    /// Volumes that may have lost something, or are not here.
    pub bad: BTreeSet<u16>,
    /// Faults of which it is not known which volume they hit.
    pub unknown: u16,
    pub uploads: u8,
    /// Whether calls may fail until the next reboot.
    pub is_broken: bool,
    /// Whether the disks may be full.
    pub is_full: bool,
}

impl Plan {
    /// Volumes that may be harmed or lost in all.
    fn budget(&self) -> u16 {
        redundancy(usize::from(self.volumes)).map_or(0, |redundancy| u16::from(redundancy.m))
    }

    fn harmed(&self) -> u16 {
        self.unknown + u16::try_from(self.bad.len()).unwrap()
    }

    /// Whether of several volumes only one may be left.
    pub(super) fn is_alone(&self) -> bool {
        self.volumes > 1 && self.volumes - self.harmed() < 2
    }

    fn can_harm(&self, volume: Option<u16>) -> bool {
        volume.is_some_and(|volume| self.bad.contains(&volume)) || self.harmed() < self.budget()
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        0_usize..300,
        1000_usize..20_000,
        65_000_usize..140_000,
        Just(256 << 10),
        262_145_usize..500_000
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![Just(Cut::Lost), Just(Cut::Kept), any::<u64>().prop_map(Cut::Mixed)]
}

fn breakage() -> impl Strategy<Value = Breakage> {
    let at = 0_u64..60;
    prop_oneof![
        4 => at.clone().prop_map(Breakage::Power),
        1 => at.clone().prop_map(Breakage::Error),
        1 => at.clone().prop_map(Breakage::Write),
        1 => at.clone().prop_map(Breakage::Sync),
        1 => at.clone().prop_map(Breakage::Lost),
        1 => (at.clone(), any::<u64>()).prop_map(|(at, seed)| Breakage::Misdirected(at, seed)),
        1 => (at, any::<u64>()).prop_map(|(at, seed)| Breakage::Flipped(at, seed)),
    ]
}

impl ReferenceStateMachine for Plan {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let volumes = prop_oneof![Just(1_u16), Just(2), Just(3), Just(4), Just(6)];
        let plan = |volumes| Self {
            volumes,
            bad: BTreeSet::new(),
            unknown: 0,
            uploads: 0,
            is_broken: false,
            is_full: false,
        };
        volumes.prop_map(plan).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let (key, upload, volume) = (0..KEYS, 0..UPLOADS, 0..state.volumes);
        prop_oneof![
            8 => (key.clone(), size()).prop_map(|(key, size)| Step::Put { key, size }),
            4 => key.clone().prop_map(|key| Step::Delete { key }),
            1 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Copy { from, to }),
            2 => (key.clone(), 0_u32..1_000_000, 1_u32..400_000)
                .prop_map(|(key, from, length)| Step::Range { key, from, length }),
            1 => key.prop_map(|key| Step::Begin { key }),
            3 => (upload.clone(), 1_u16..4, size())
                .prop_map(|(upload, part, size)| Step::Part { upload, part, size }),
            1 => upload.clone().prop_map(|upload| Step::Complete { upload }),
            1 => upload.prop_map(|upload| Step::Abort { upload }),
            3 => Just(Step::Pack),
            1 => Just(Step::Checkpoint),
            2 => Just(Step::Standby),
            3 => breakage().prop_map(Step::Break),
            1 => volume.clone().prop_map(Step::Pull),
            1 => (volume, any::<u64>()).prop_map(|(volume, seed)| Step::Rot { volume, seed }),
            1 => (0_u64..4 << 20).prop_map(Step::Fill),
            5 => (cut(), prop::bool::weighted(0.7))
                .prop_map(|(cut, keeps_index)| Step::Reboot { cut, keeps_index }),
            2 => Just(Step::Mend),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Begin { .. } => state.uploads < UPLOADS,
            Step::Part { upload, .. } | Step::Complete { upload } | Step::Abort { upload } => {
                *upload < state.uploads
            }
            Step::Break(breakage) => {
                !state.is_broken && (!breakage.harms() || state.can_harm(None))
            }
            Step::Pull(volume) | Step::Rot { volume, .. } => {
                !state.is_broken && *volume < state.volumes && state.can_harm(Some(*volume))
            }
            _ => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::Begin { .. } => state.uploads += 1,
            Step::Complete { .. } | Step::Abort { .. } => state.uploads -= 1,
            Step::Break(breakage) => {
                state.is_broken = true;
                state.unknown += u16::from(breakage.harms());
            }
            Step::Pull(volume) | Step::Rot { volume, .. } => {
                state.bad.insert(*volume);
            }
            Step::Fill(_) => state.is_full = true,
            Step::Reboot { .. } => (state.is_broken, state.is_full) = (false, false),
            Step::Mend => {
                (state.is_broken, state.is_full, state.unknown) = (false, false, 0);
                state.bad.clear();
            }
            _ => {}
        }
        state
    }
}
