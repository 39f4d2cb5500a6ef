//! Readings of the node's hardware and operating system, and what they mean.
//!
//! Taking a reading never fails: what cannot be read is `Unknown` with the reason in words, and
//! nobody shows unknown as healthy. Assessing a reading is pure.

mod ask;
mod clock;
pub mod drive;
mod families;
pub mod history;
pub mod host;
mod memory;
mod privileged;
mod reading;
mod sample;
pub mod sampler;
mod sys;
pub mod trends;
mod verdict;

pub use ask::{AskError, ask, hand_over};
pub use clock::{
    Clock, ClockConcern, ClockReading, SETTLING, SKEW_MAX, assess_clock, clock_gathered, read_clock,
};
pub use families::families;
pub use memory::{
    LimitReading, MemoryReading, ResidentReading, read_limit, read_memory, read_resident,
};
pub use privileged::{HardwareSocket, Privileged};
pub use reading::{Gathered, Reading};
pub use sample::{Family, Sample, SampleKind};
pub use trends::Trends;
pub use verdict::{Health, Kind, Verdict};
