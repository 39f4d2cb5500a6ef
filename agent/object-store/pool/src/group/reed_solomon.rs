//! Reed-Solomon as the crate reed-solomon-simd has it, column by column with coders that are kept.

use bytes::Bytes;
use reed_solomon_simd::ReedSolomonEncoder;
use reed_solomon_simd::engine::{
    DefaultEngine, Engine, GF_MODULUS, GF_ORDER, GfElement, ShardsRefMut, tables, utils,
};
use reed_solomon_simd::rate::{DefaultRateDecoder, RateDecoder as _};

use super::codec::CodecError;
use crate::buffer::{Buffer, Spare};

/// Bytes of each cell that are coded at once: a coder's memory, up to 32 columns, then stays in a
/// core's second cache. A multiple of [`STRIPE`](super::codec::STRIPE).
const COLUMN: usize = 32 << 10;

/// Coders of each kind that are kept while nobody needs them.
const KEPT: usize = 4;

/// Cells up to which [`Direct`] evaluates; above, the transform is quicker.
const FEW: usize = 64;

type Decoder = DefaultRateDecoder<Direct>;

static ENCODERS: Spare<ReedSolomonEncoder> = Spare::new();

static DECODERS: Spare<Decoder> = Spare::new();

/// The m parity cells of data cells of one length.
pub(super) fn encode(data: &[Bytes], m: usize) -> Result<Vec<Bytes>, CodecError> {
    let length = data.first().ok_or(CodecError)?.len();
    let mut parity: Vec<Buffer> = (0..m).map(|_| Buffer::with_capacity(length)).collect();
    let mut kept = ENCODERS.take();
    for (from, to) in columns(length) {
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
    let (data, parity) = have.split_at_checked(k).ok_or(CodecError)?;
    let length = have.iter().flatten().next().ok_or(CodecError)?.len();
    let is_lost = |(n, cell): (usize, &Option<Bytes>)| cell.is_none().then_some(n);
    let lost: Vec<usize> = data.iter().enumerate().filter_map(is_lost).collect();
    let mut made: Vec<Buffer> = lost.iter().map(|_| Buffer::with_capacity(length)).collect();
    let mut kept = if lost.is_empty() { None } else { DECODERS.take() };
    for (from, to) in columns(if lost.is_empty() { 0 } else { length }) {
        let mut decoder = match kept.take() {
            Some(mut decoder) => {
                decoder.reset(k, parity.len(), to - from).map_err(bad)?;
                decoder
            }
            None => {
                Decoder::new(k, parity.len(), to - from, Direct::default(), None).map_err(bad)?
            }
        };
        for (n, cell) in there(data) {
            let part = cell.get(from..to).ok_or(CodecError)?;
            decoder.add_original_shard(n, part).map_err(bad)?;
        }
        // More than are lost would only be multiplied for nothing.
        for (n, cell) in there(parity).take(lost.len()) {
            let part = cell.get(from..to).ok_or(CodecError)?;
            decoder.add_recovery_shard(n, part).map_err(bad)?;
        }
        let done = decoder.decode().map_err(bad)?;
        for (n, made) in lost.iter().zip(&mut made) {
            made.bytes().extend_from_slice(done.restored_original(*n).ok_or(CodecError)?);
        }
        drop(done);
        kept = Some(decoder);
    }
    kept.into_iter().for_each(|decoder| DECODERS.give(decoder, KEPT));
    let mut made = made.into_iter().map(Buffer::freeze);
    let cell = |cell: &Option<Bytes>| cell.clone().or_else(|| made.next()).ok_or(CodecError);
    data.iter().map(cell).collect()
}

fn there(cells: &[Option<Bytes>]) -> impl Iterator<Item = (usize, &Bytes)> {
    cells.iter().enumerate().filter_map(|(n, cell)| Some((n, cell.as_ref()?)))
}

/// Parts of so many bytes.
fn columns(length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..length).step_by(COLUMN).map(move |from| (from, length.min(from + COLUMN)))
}

fn bad(_: reed_solomon_simd::Error) -> CodecError {
    CodecError
}

/// The crate's engine, but for what it does once in each decoding: it finds the polynomial that is zero
/// where cells are lost by a transform over all 65536 elements of the field, which takes as long as
/// decoding 1 MiB. For a few cells the sums are found as they are defined.
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
    fn cells_of_several_columns_come_back_also_with_coders_of_another_shape() {
        for (k, m, length) in [(6, 2, COLUMN * 2 + 64), (2, 2, 64), (3, 4, COLUMN), (6, 2, 128)] {
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
