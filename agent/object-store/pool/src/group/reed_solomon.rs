//! Reed-Solomon as the crate reed-solomon-simd has it: parity by its encoders, which are kept, column by
//! column; what is lost by the sums that its decoder stands for.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use reed_solomon_simd::ReedSolomonEncoder;
use reed_solomon_simd::engine::{
    DefaultEngine, Engine, GF_MODULUS, GF_ORDER, GfElement, ShardsRefMut, tables, utils,
};
use reed_solomon_simd::rate::{DefaultRateDecoder, RateDecoder as _};

use super::codec::CodecError;
use crate::buffer::{Buffer, Spare};

/// Bytes of each cell that are encoded at once: an encoder's memory, up to 16 columns, then stays in a
/// core's second cache. A multiple of [`STRIPE`].
const COLUMN: usize = 32 << 10;

/// Bytes of a sum that are made at once: with what is added it stays in a core's first cache. A
/// multiple of [`STRIPE`].
const PART: usize = 8 << 10;

/// As [`codec::STRIPE`](super::codec::STRIPE).
const STRIPE: usize = super::codec::STRIPE as usize;

/// Elements of a stripe: first stand the low bytes of all, then the high ones.
const LANES: usize = STRIPE / 2;

/// Encoders that are kept while nobody needs them.
const KEPT: usize = 4;

/// Cells up to which [`Direct`] evaluates; above, the transform is quicker.
const FEW: usize = 64;

static ENCODERS: Spare<ReedSolomonEncoder> = Spare::new();

static ENGINE: LazyLock<DefaultEngine> = LazyLock::new(DefaultEngine::new);

/// The m parity cells of data cells of one length.
pub(super) fn encode(data: &[Bytes], m: usize) -> Result<Vec<Bytes>, CodecError> {
    let length = data.first().ok_or(CodecError)?.len();
    let mut parity: Vec<Buffer> = (0..m).map(|_| Buffer::with_capacity(length)).collect();
    let mut kept = ENCODERS.take();
    for (from, to) in parts(length, COLUMN) {
        let mut encoder = match kept.take() {
            Some(mut encoder) => {
                encoder.reset(data.len(), m, to - from).map_err(bad)?;
                encoder
            }
            None => ReedSolomonEncoder::new(data.len(), m, to - from).map_err(bad)?,
        };
        for cell in data {
            encoder.add_original_shard(cell.get(from..to).ok_or(CodecError)?).map_err(bad)?;
        }
        let done = encoder.encode().map_err(bad)?;
        for (parity, made) in parity.iter_mut().zip(done.recovery_iter()) {
            parity.bytes().extend_from_slice(made);
        }
        drop(done);
        kept = Some(encoder);
    }
    // One that failed is not kept.
    kept.into_iter().for_each(|encoder| ENCODERS.give(encoder, KEPT));
    Ok(parity.into_iter().map(Buffer::freeze).collect())
}

/// The k data cells, of which some are lost, from cells of one length.
pub(super) fn data(k: usize, have: &[Option<Bytes>]) -> Result<Vec<Bytes>, CodecError> {
    let m = have.len().checked_sub(k).ok_or(CodecError)?;
    let sources: Vec<(usize, &Bytes)> = there(have).take(k).collect();
    let length = sources.first().ok_or(CodecError)?.1.len();
    let is_lost = |n: &usize| have.get(*n).is_some_and(Option::is_none);
    let lost: Vec<usize> = (0..k).filter(is_lost).collect();
    let mut made = VecDeque::new();
    if !lost.is_empty() {
        let numbers: Vec<usize> = sources.iter().map(|(n, _)| *n).collect();
        for factors in factors(k, m, &numbers, &lost)? {
            let factors = factors.into_iter().zip(sources.iter().map(|(_, cell)| *cell));
            made.push_back(sum(factors, length)?.freeze());
        }
    }
    let cell = |cell: &Option<Bytes>| cell.clone().or_else(|| made.pop_front()).ok_or(CodecError);
    have.iter().take(k).map(cell).collect()
}

/// Of each cell that is lost, by what each of k others is multiplied in the sum that it is. Found by
/// decoding short cells: elements stand for themselves, and in the n-th one the n-th source is 1 and all
/// others are 0.
fn factors(
    k: usize,
    m: usize,
    sources: &[usize],
    lost: &[usize],
) -> Result<Vec<Vec<GfElement>>, CodecError> {
    let length = sources.len().div_ceil(LANES) * STRIPE;
    let mut decoder =
        DefaultRateDecoder::new(k, m, length, Direct::default(), None).map_err(bad)?;
    for (at, number) in sources.iter().enumerate() {
        let mut unit = vec![0; length];
        *unit.get_mut(at / LANES * STRIPE + at % LANES).ok_or(CodecError)? = 1;
        match number.checked_sub(k) {
            None => decoder.add_original_shard(*number, unit),
            Some(parity) => decoder.add_recovery_shard(parity, unit),
        }
        .map_err(bad)?;
    }
    let done = decoder.decode().map_err(bad)?;
    let of_cell = |number: &usize| {
        let stripes = done.restored_original(*number)?.chunks_exact(STRIPE);
        let elements = stripes.flat_map(|stripe| {
            let (low, high) = stripe.split_at(LANES);
            let element = |(low, high): (&u8, &u8)| GfElement::from_le_bytes([*low, *high]);
            low.iter().zip(high).map(element)
        });
        Some(elements.take(sources.len()).collect())
    };
    lost.iter().map(|number| of_cell(number).ok_or(CodecError)).collect()
}

/// The sum of cells, each multiplied by its factor.
fn sum<'a>(
    cells: impl Iterator<Item = (GfElement, &'a Bytes)> + Clone,
    length: usize,
) -> Result<Buffer, CodecError> {
    let log = &tables::get_exp_log().log;
    let mut made = Buffer::with_capacity(length);
    let (mut product, mut sum) = (vec![[0; STRIPE]; PART / STRIPE], Vec::new());
    for (from, to) in parts(length, PART) {
        product.truncate((to - from) / STRIPE);
        sum.clear();
        sum.resize(product.len(), [0; STRIPE]);
        for (factor, cell) in cells.clone().filter(|(factor, _)| *factor != 0) {
            let part = cell.get(from..to).ok_or(CodecError)?;
            product.as_flattened_mut().copy_from_slice(part);
            let log = log.get(usize::from(factor)).ok_or(CodecError)?;
            ENGINE.mul(&mut product, *log);
            utils::xor(&mut sum, &product);
        }
        made.bytes().extend_from_slice(sum.as_flattened());
    }
    Ok(made)
}

fn there(cells: &[Option<Bytes>]) -> impl Iterator<Item = (usize, &Bytes)> {
    cells.iter().enumerate().filter_map(|(n, cell)| Some((n, cell.as_ref()?)))
}

/// From where to where parts of so many bytes reach.
fn parts(length: usize, part: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..length).step_by(part).map(move |from| (from, length.min(from + part)))
}

fn bad(_: reed_solomon_simd::Error) -> CodecError {
    CodecError
}

/// The crate's engine, but for what it does once in each decoding: it finds the polynomial that is zero
/// where cells are lost by a transform over all 65536 elements of the field, which takes as long as
/// making a cell of 1 MiB. For a few cells the sums are found as they are defined.
#[derive(Default)]
struct Direct(DefaultEngine);

impl Engine for Direct {
    fn fft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        self.0.fft(data, pos, size, truncated_size, skew_delta);
    }

    fn ifft(
        &self,
        data: &mut ShardsRefMut<'_>,
        pos: usize,
        size: usize,
        truncated_size: usize,
        skew_delta: usize,
    ) {
        self.0.ifft(data, pos, size, truncated_size, skew_delta);
    }

    fn mul(&self, x: &mut [[u8; 64]], log_m: GfElement) {
        self.0.mul(x, log_m);
    }

    /// Nothing is lost behind `truncated_size`, nor is anything there of use.
    fn eval_poly(erasures: &mut [GfElement; GF_ORDER], truncated_size: usize) {
        let few = erasures.get_mut(..truncated_size).filter(|few| few.len() <= FEW);
        match few {
            Some(few) => evaluate(few),
            None => utils::eval_poly(erasures, truncated_size),
        }
    }
}

/// Puts in the place of each element the logarithm of the product of its differences to those that are
/// 1, itself left out. A difference is an exclusive or.
fn evaluate(erasures: &mut [GfElement]) {
    let log = &tables::get_exp_log().log;
    let lost: Vec<usize> =
        erasures.iter().enumerate().filter_map(|(n, is)| (*is == 1).then_some(n)).collect();
    for (at, element) in erasures.iter_mut().enumerate() {
        let others = lost.iter().filter(|lost| **lost != at);
        let sum: u32 =
            others.filter_map(|lost| log.get(at ^ lost)).map(|log| u32::from(*log)).sum();
        *element = GfElement::try_from(sum % u32::from(GF_MODULUS)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_the_one_of_the_transform() {
        for lost in [vec![0], vec![1, 2, 3], vec![0, 5, 11, 17], (0..32).collect()] {
            let mut all = Box::new([0; GF_ORDER]);
            for lost in &lost {
                all[*lost] = 1;
            }
            let mut few: Vec<GfElement> = all[..FEW].to_vec();
            utils::eval_poly(&mut all, FEW);
            evaluate(&mut few);
            // 0 and 65535 are one logarithm.
            let reduced =
                |all: &[GfElement]| all.iter().map(|n| n % GF_MODULUS).collect::<Vec<_>>();
            assert_eq!(reduced(&few), reduced(&all[..FEW]), "{lost:?}");
        }
    }

    #[test]
    fn cells_of_several_columns_come_back_whatever_shape_was_coded_before() {
        for (k, m, length) in [(6, 2, COLUMN * 2 + 64), (2, 2, 64), (3, 4, COLUMN), (40, 3, 128)] {
            let cell = |n: usize| (0..length).map(move |at| (at * (n + 3) + at / 251) % 256);
            let bytes = |n| cell(n).map(|byte| u8::try_from(byte).unwrap()).collect::<Bytes>();
            let cells: Vec<Bytes> = (0..k).map(bytes).collect();
            let parity = encode(&cells, m).unwrap();
            let lost = |n: usize| n < m.min(k);
            let have = cells.iter().enumerate().map(|(n, cell)| (!lost(n)).then(|| cell.clone()));
            let have: Vec<Option<Bytes>> = have.chain(parity.into_iter().map(Some)).collect();
            assert_eq!(data(k, &have).unwrap(), cells, "{k}+{m}");
            // What is made at once is what is made one by one.
            let whole = encode(&cells, m).unwrap();
            let first: Vec<Bytes> = cells.iter().map(|cell| cell.slice(..64)).collect();
            for (whole, first) in whole.iter().zip(encode(&first, m).unwrap()) {
                assert_eq!(whole.slice(..64), first);
            }
        }
    }
}
