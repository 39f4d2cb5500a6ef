//! The health of disks: what `smartctl` prints becomes a [`DriveReading`], which [`assess()`] judges beside
//! what it was before, and what the storage engine saw. All of it is pure.
//!
//! ```text
//!  Answer ──► DriveReading ──┬──► samples ──► metrics, history
//!  earlier Counts ───────────┼──► assess ──► DriveHealth
//!  what the engine saw ──────┘
//!  DriveReadings ──► plan_tests ──► self-tests to start
//! ```
//!
//! Every field of a reading may be missing, and nothing that is missing is healthy.
//! docs/design/health-disks.md says why each rule is as it is.

mod assess;
mod json;
mod rates;
mod reading;
mod rules;
mod samples;
mod schedule;
mod smartctl;

pub use assess::{Asked, Counts, DriveHealth, Earlier, ObservedCalls, Thresholds, assess};
pub use rates::{FailureRate, annual_failure_rate};
pub use reading::{
    Attribute, Drive, DriveClass, DriveReading, Failed, Identity, Log, NvmeLog, ScsiCounters,
    SelfTestResult, SelfTests, Temperatures, TestEnd,
};
pub(crate) use samples::FAMILIES;
pub use schedule::{TestDisk, TestStart, plan_tests};
pub use smartctl::decode;

#[cfg(test)]
mod assess_tests;
#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod schedule_tests;
