//! Readings of the node's hardware and operating system, and what they mean.
//!
//! Taking a reading never fails: what cannot be read is `Unknown` with the reason in words, and
//! nobody shows unknown as healthy. Assessing a reading is pure.

mod ask;
mod clock;
pub mod drive;
mod memory;
mod sample;
mod sys;
mod verdict;

pub use ask::{AskError, ask};
pub use clock::{ClockConcern, ClockReading, SETTLING, assess_clock, read_clock};
pub use memory::{
    LimitReading, MemoryReading, ResidentReading, read_limit, read_memory, read_resident,
};
pub use sample::{Sample, SampleKind};
pub use verdict::{Health, Kind, Verdict};
