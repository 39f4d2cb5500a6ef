//! Amounts and times as people read and write them.

use alloy::primitives::U256;

/// Digits of ETH, and of the token, behind the point.
pub(crate) const DIGITS: usize = 18;

/// Digits of gwei behind the point.
const GWEI_DIGITS: usize = 9;

/// Why words are no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount: write digits, and at most {1} behind a point")]
pub(crate) struct NoAmount(String, usize);

/// An amount with so many digits behind its point, without zeros at its end.
pub(crate) fn amount(value: U256, digits: usize) -> String {
    let text = format!("{value:0>width$}", width = digits.saturating_add(1));
    let (whole, part) =
        text.split_at_checked(text.len().saturating_sub(digits)).unwrap_or((&text, ""));
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

/// Tokens.
pub(crate) fn tokens(value: U256) -> String {
    format!("{} ICNT", amount(value, DIGITS))
}

/// ETH, of wei.
pub(crate) fn eth(wei: u128) -> String {
    format!("{} ETH", amount(U256::from(wei), DIGITS))
}

/// Gwei, of wei.
pub(crate) fn gwei(wei: u128) -> String {
    format!("{} gwei", amount(U256::from(wei), GWEI_DIGITS))
}

/// Reads tokens.
pub(crate) fn parse_tokens(text: &str) -> Result<U256, NoAmount> {
    parse(text, DIGITS)
}

/// Reads gwei, as wei.
pub(crate) fn parse_gwei(text: &str) -> Result<u128, NoAmount> {
    let wei = parse(text, GWEI_DIGITS)?;
    u128::try_from(wei).map_err(|_| NoAmount(text.to_owned(), GWEI_DIGITS))
}

fn parse(text: &str, digits: usize) -> Result<U256, NoAmount> {
    let no = || NoAmount(text.to_owned(), digits);
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let complete = !whole.is_empty() && text.contains('.') != part.is_empty();
    if !complete || part.len() > digits || !plain(whole) || !plain(part) {
        return Err(no());
    }
    format!("{whole}{part:0<digits$}").parse().map_err(|_| no())
}

/// A moment, of seconds since 1970.
pub(crate) fn moment(unix_s: u64) -> String {
    let seconds = i64::try_from(unix_s).ok();
    match seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        Some(moment) => moment.to_string(),
        None => format!("{unix_s} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_written_as_people_do() {
        let one = U256::from(10).pow(U256::from(18));
        assert_eq!(tokens(one), "1 ICNT");
        assert_eq!(tokens(one / U256::from(1000)), "0.001 ICNT");
        assert_eq!(eth(0), "0 ETH");
        assert_eq!(gwei(1_500_000_000), "1.5 gwei");
        assert_eq!(eth(1), "0.000000000000000001 ETH");
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert!(moment(u64::MAX).contains("after 1970"));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "1,5", "1e3", "0x1", " 1", "1.0000000000000000001"]
        {
            assert!(parse_tokens(text).is_err(), "{text}");
        }
        assert!(parse_tokens(&"9".repeat(80)).is_err());
        assert_eq!(parse_gwei("0.5").unwrap(), 500_000_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
        #[test]
        fn what_is_written_is_read_again(value in any::<u128>()) {
            let value = U256::from(value);
            prop_assert_eq!(parse_tokens(&amount(value, DIGITS)).unwrap(), value);
        }
    }
}
