//! What was read in the last 90 days, on the node itself, at a resolution that falls with age.
//!
//! | step | kept for | of a gauge | of a counter |
//! |---|---|---|---|
//! | 1 min | 6 h | lowest, mean, highest | last value |
//! | 10 min | 7 d | lowest, mean, highest | last value |
//! | 1 h | 90 d | lowest, mean, highest | last value |
//!
//! Keys and values of the store:
//!
//! ```text
//! "v"                                            version u8
//! "s" │ series u32                               kind u8 │ name
//! "d" │ series u32 │ tier u8 │ chunk u32         points, see point.rs
//! ```
//!
//! Numbers in keys are big-endian, so that keys stand in order of time. A series takes at most 58 KiB:
//! 420, 1152 and 2328 points of 15 bytes, as chunks go only when all of them is too old. All together
//! that is 116 MiB; a store that takes more than [`SIZE_MAX`] on its disk begins anew. What was read since
//! the last write ([`FLUSH_EVERY`]) is in memory only: a power cut takes it.

mod point;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use agent_kv::{Change, Disk, Store, StoreError, set_aside};
pub use point::Point;

use crate::sample::{Sample, SampleKind};

/// Most series. A machine with 60 disks and everything that can be read has about 2000; further ones
/// have no history.
pub const SERIES_MAX: usize = 2048;

/// Longest name of a series in bytes; longer ones have no history. The longest of ours has some 150.
pub const NAME_MAX: usize = 400;

/// Bytes on the disk above which a store begins anew: more than twice of what it holds at the most, as
/// sled gives room back late.
pub const SIZE_MAX: u64 = 256 << 20;

/// How often what was read is written: often enough that a power cut takes little, and seldom enough
/// that a node with 500 series writes less than half a gigabyte a day.
pub const FLUSH_EVERY: Duration = Duration::from_secs(600);

/// Most points of one answer: the whole of the coarsest tier.
pub const POINTS_MAX: usize = 2200;

/// Changes that are made together: what a batch holds is held twice. A half-done flush is no harm.
const BATCH: usize = 512;

const VERSION: u8 = 1;
const VERSION_KEY: &[u8] = b"v";

/// A resolution.
#[derive(Debug, Clone, Copy)]
struct Tier {
    step_ms: u64,
    keep_ms: u64,
    /// Points that stand together under one key.
    chunk: u64,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

const TIERS: [Tier; 3] = [
    Tier { step_ms: MINUTE_MS, keep_ms: 6 * HOUR_MS, chunk: 60 },
    Tier { step_ms: 10 * MINUTE_MS, keep_ms: 7 * DAY_MS, chunk: 144 },
    Tier { step_ms: HOUR_MS, keep_ms: 90 * DAY_MS, chunk: 168 },
];

/// Points of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// From one to the next, in milliseconds.
    pub step_ms: u64,
    /// Beginnings of their stretches in milliseconds since 1970, the oldest first.
    pub points: Vec<(u64, Point)>,
}

#[derive(Debug)]
struct Series {
    number: u32,
    kind: SampleKind,
    /// By tier and slot: what was read since the last flush.
    pending: BTreeMap<(usize, u64), Point>,
    is_new: bool,
}

/// The history in a store.
#[derive(Debug)]
pub struct History<S> {
    store: S,
    series: BTreeMap<String, Series>,
    next: u32,
    flushed_ms: Option<u64>,
}

impl History<Disk> {
    /// Opens the history in a folder. One that is damaged or of another version is set aside: then
    /// the reason is given too, and it begins anew.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(path: &Path) -> Result<(Self, Option<StoreError>), StoreError> {
        match Self::open_as_is(path) {
            Err(why @ StoreError::Damaged { .. }) => {
                set_aside(path, &path.with_extension("damaged"))?;
                Ok((Self::open_as_is(path)?, Some(why)))
            }
            opened => Ok((opened?, None)),
        }
    }

    fn open_as_is(path: &Path) -> Result<Self, StoreError> {
        let why = "it is of another version, or makes no sense".to_owned();
        Self::over(Disk::open(path)?)?
            .ok_or_else(|| StoreError::Damaged { path: path.to_owned(), why })
    }
}

impl<S: Store> History<S> {
    /// The history in a store; none where it is of another version, or makes no sense.
    ///
    /// # Errors
    /// The store fails.
    pub fn over(mut store: S) -> Result<Option<Self>, StoreError> {
        match store.get(VERSION_KEY)?.as_deref() {
            None => store.commit(vec![(VERSION_KEY.to_vec(), Some(vec![VERSION]))])?,
            Some([VERSION]) => {}
            Some(_) => return Ok(None),
        }
        let mut series = BTreeMap::new();
        let mut next = 0;
        for (key, value) in store.range(b"s", b"t")? {
            let Some((name, one)) = read_series(&key, &value) else { return Ok(None) };
            next = next.max(one.number.saturating_add(1));
            series.insert(name, one);
        }
        Ok(Some(Self { store, series, next, flushed_ms: None }))
    }

    /// Takes in what was read. Numbers that are not finite, and series beyond [`SERIES_MAX`], are not kept.
    pub fn record(&mut self, at_ms: u64, samples: &[Sample]) {
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            let name = sample.series();
            if !self.series.contains_key(&name) && !self.begin(&name, sample.kind) {
                continue;
            }
            let Some(series) = self.series.get_mut(&name) else { continue };
            let point = Point::of(series.kind, sample.value);
            for (tier, Tier { step_ms, .. }) in TIERS.iter().enumerate() {
                let slot = at_ms / step_ms;
                let known = series.pending.get(&(tier, slot)).copied();
                let all = known.map_or(point, |known| known.and(point));
                series.pending.insert((tier, slot), all);
            }
        }
    }

    fn begin(&mut self, name: &str, kind: SampleKind) -> bool {
        if self.series.len() >= SERIES_MAX || name.len() > NAME_MAX || self.next == u32::MAX {
            return false;
        }
        let series = Series { number: self.next, kind, pending: BTreeMap::new(), is_new: true };
        self.next += 1;
        self.series.insert(name.to_owned(), series);
        true
    }

    /// Whether what was read is due to be written.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        let every = u64::try_from(FLUSH_EVERY.as_millis()).unwrap_or(u64::MAX);
        // A clock that was set back is no reason to wait for it.
        self.flushed_ms.is_none_or(|at| now_ms < at || now_ms - at >= every)
    }

    /// Writes what was read, and drops what is too old.
    ///
    /// # Errors
    /// The store fails: it is not to be used any more.
    pub fn flush(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        let mut gone = Vec::new();
        for (name, series) in &mut self.series {
            if series.is_new {
                let mut value = vec![kind_byte(series.kind)];
                value.extend(name.as_bytes());
                changes.push((series_key(series.number), Some(value)));
            }
            write_pending(&self.store, series, &mut changes)?;
            let is_empty = drop_old(&self.store, series, now_ms, &mut changes)?;
            if is_empty && series.pending.is_empty() && !series.is_new {
                changes.push((series_key(series.number), None));
                gone.push(name.clone());
            }
        }
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            self.store.commit(changes.by_ref().take(BATCH).collect())?;
        }
        for series in self.series.values_mut() {
            (series.is_new, series.pending) = (false, BTreeMap::new());
        }
        for name in gone {
            self.series.remove(&name);
        }
        self.flushed_ms = Some(now_ms);
        Ok(())
    }

    /// Whether the store takes more of its disk than it may.
    ///
    /// # Errors
    /// The store fails.
    pub fn is_too_large(&self) -> Result<bool, StoreError> {
        Ok(self.store.size()? > SIZE_MAX)
    }

    /// All series and how they behave, in order of their names.
    pub fn series(&self) -> impl Iterator<Item = (&str, SampleKind)> {
        self.series.iter().map(|(name, series)| (name.as_str(), series.kind))
    }

    /// Points of a series from one time to another, in milliseconds since 1970; none where there is no such
    /// series. They are of the coarsest step that is not above `step_ms`, or of a coarser one where that
    /// does not reach back to `from_ms`; of more than [`POINTS_MAX`] the newest.
    ///
    /// # Errors
    /// The store fails.
    pub fn points(
        &self,
        name: &str,
        (from_ms, to_ms): (u64, u64),
        step_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Points>, StoreError> {
        let Some(series) = self.series.get(name) else { return Ok(None) };
        let fine = TIERS.iter().rposition(|tier| tier.step_ms <= step_ms).unwrap_or(0);
        let reaches = |tier: &Tier| from_ms >= now_ms.saturating_sub(tier.keep_ms);
        let tiers = TIERS.iter().enumerate().skip(fine);
        let reaching = tiers.filter(|(_, tier)| reaches(tier)).map(|(number, _)| number).next();
        let number = reaching.unwrap_or(TIERS.len() - 1);
        let Some(tier) = TIERS.get(number) else { return Ok(None) };
        let mut points = self.tier_points(series, number, tier, (from_ms, to_ms))?;
        points.drain(..points.len().saturating_sub(POINTS_MAX));
        Ok(Some(Points { step_ms: tier.step_ms, points }))
    }

    /// All values of a counter at their times, the oldest first, each as fine as it is kept.
    ///
    /// # Errors
    /// The store fails.
    pub fn values(&self, name: &str) -> Result<Vec<(u64, f64)>, StoreError> {
        let Some(series) = self.series.get(name) else { return Ok(Vec::new()) };
        let mut all: Vec<(u64, f64)> = Vec::new();
        let mut end = u64::MAX;
        // The finest first: coarser ones tell what was before.
        for (number, tier) in TIERS.iter().enumerate() {
            let points = self.tier_points(series, number, tier, (0, end))?;
            let counted = points.into_iter().filter_map(|(at, point)| match point {
                Point::Counter { last } if at < end => Some((at, last)),
                _ => None,
            });
            let mut earlier: Vec<_> = counted.collect();
            end = earlier.first().map_or(end, |(at, _)| *at);
            earlier.append(&mut all);
            all = earlier;
        }
        Ok(all)
    }

    fn tier_points(
        &self,
        series: &Series,
        number: usize,
        tier: &Tier,
        (from_ms, to_ms): (u64, u64),
    ) -> Result<Vec<(u64, Point)>, StoreError> {
        let slots = from_ms / tier.step_ms..=to_ms / tier.step_ms;
        let chunk = |slot: u64| u32::try_from(slot / tier.chunk).unwrap_or(u32::MAX);
        let from = data_key(series.number, number, chunk(*slots.start()));
        let before = data_key(series.number, number, chunk(*slots.end()).saturating_add(1));
        let mut found: BTreeMap<u64, Point> = BTreeMap::new();
        for (key, value) in self.store.range(&from, &before)? {
            let Some(chunk) = key.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
                continue;
            };
            for (place, point) in point::decode(series.kind, &value) {
                found.insert(u64::from(chunk) * tier.chunk + u64::from(place), point);
            }
        }
        for ((_, slot), point) in series.pending.iter().filter(|((of, _), _)| *of == number) {
            let stored = found.get(slot).copied();
            found.insert(*slot, stored.map_or(*point, |stored| stored.and(*point)));
        }
        let wanted = found.into_iter().filter(|(slot, _)| slots.contains(slot));
        Ok(wanted.map(|(slot, point)| (slot.saturating_mul(tier.step_ms), point)).collect())
    }
}

/// The changes that add what is pending to the chunks of a series.
fn write_pending<S: Store>(
    store: &S,
    series: &Series,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let mut chunks: BTreeMap<(usize, u32), Vec<(u8, Point)>> = BTreeMap::new();
    for ((number, slot), point) in &series.pending {
        let Some(tier) = TIERS.get(*number) else { continue };
        let place = u8::try_from(slot % tier.chunk).unwrap_or(u8::MAX);
        let chunk = u32::try_from(slot / tier.chunk).unwrap_or(u32::MAX);
        chunks.entry((*number, chunk)).or_default().push((place, *point));
    }
    for ((number, chunk), points) in chunks {
        let key = data_key(series.number, number, chunk);
        let stored = store.get(&key)?.unwrap_or_default();
        let mut all: BTreeMap<u8, Point> =
            point::decode(series.kind, &stored).into_iter().collect();
        for (place, point) in points {
            let stored = all.get(&place).copied();
            all.insert(place, stored.map_or(point, |stored| stored.and(point)));
        }
        let all: Vec<_> = all.into_iter().collect();
        changes.push((key, Some(point::encode(&all))));
    }
    Ok(())
}

/// The changes that drop chunks of which all is too old; whether nothing else is stored.
fn drop_old<S: Store>(
    store: &S,
    series: &Series,
    now_ms: u64,
    changes: &mut Vec<Change>,
) -> Result<bool, StoreError> {
    let mut is_empty = true;
    for (number, tier) in TIERS.iter().enumerate() {
        let begin = now_ms.saturating_sub(tier.keep_ms) / tier.step_ms / tier.chunk;
        let begin = u32::try_from(begin).unwrap_or(u32::MAX);
        let (from, before) =
            (data_key(series.number, number, 0), data_key(series.number, number, begin));
        let old = store.range(&from, &before)?;
        changes.extend(old.into_iter().map(|(key, _)| (key, None)));
        if number + 1 == TIERS.len() {
            let end = data_key(series.number, number, u32::MAX);
            is_empty = store.range(&before, &end)?.is_empty();
        }
    }
    Ok(is_empty)
}

fn series_key(number: u32) -> Vec<u8> {
    let mut key = b"s".to_vec();
    key.extend(number.to_be_bytes());
    key
}

fn data_key(series: u32, tier: usize, chunk: u32) -> Vec<u8> {
    let mut key = b"d".to_vec();
    key.extend(series.to_be_bytes());
    key.push(u8::try_from(tier).unwrap_or(u8::MAX));
    key.extend(chunk.to_be_bytes());
    key
}

fn read_series(key: &[u8], value: &[u8]) -> Option<(String, Series)> {
    let number = u32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    let (kind, name) = value.split_first()?;
    let kind = match kind {
        0 => SampleKind::Gauge,
        1 => SampleKind::Counter,
        _ => return None,
    };
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, Series { number, kind, pending: BTreeMap::new(), is_new: false }))
}

fn kind_byte(kind: SampleKind) -> u8 {
    match kind {
        SampleKind::Gauge => 0,
        SampleKind::Counter => 1,
    }
}

#[cfg(test)]
mod tests;
