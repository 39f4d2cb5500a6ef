//! What the agent answers, in words for a person: for every program that shows it. Pure.

pub mod health;
pub mod network;
pub mod pool;
pub mod support;

use jiff::Timestamp;

/// A moment in milliseconds since 1970, such as `2026-03-01T12:00:00Z`.
fn at(millis: u64) -> String {
    let millis = i64::try_from(millis).ok();
    let at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    at.map_or("unknown".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
