//! Values out of JSON that may lack them, or have something else in their place.

use serde_json::Value;

/// The longest text that is taken over, in characters: longer than any model, serial number or verdict
/// of a disk.
const LONGEST_TEXT: usize = 80;

/// A whole number that is not negative.
pub(super) fn count(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_u64()
}

/// A whole number of a narrower type.
pub(super) fn narrow<T: TryFrom<u64>>(value: &Value, pointer: &str) -> Option<T> {
    T::try_from(count(value, pointer)?).ok()
}

/// A number of 128 bits of an object. smartctl prints one that JavaScript cannot hold also as text
/// (`KEY_s`) and as little-endian bytes (`KEY_le`).
pub(super) fn wide(object: &Value, key: &str) -> Option<u128> {
    let text = || object.get(format!("{key}_s"))?.as_str()?.parse().ok();
    let bytes = || {
        let bytes = object.get(format!("{key}_le"))?.as_array()?;
        let bytes: Option<Vec<u8>> =
            bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
        let mut all = [0; 16];
        let bytes = bytes?;
        all.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(u128::from_le_bytes(all))
    };
    let number = || object.get(key)?.as_u64().map(u128::from);
    text().or_else(bytes).or_else(number)
}

/// A temperature in °C. What is outside of what a disk can have and still answer is none.
pub(super) fn celsius(value: &Value, pointer: &str) -> Option<i16> {
    let celsius = value.pointer(pointer)?.as_i64()?;
    i16::try_from(celsius).ok().filter(|celsius| (-60..=150).contains(celsius))
}

/// Yes or no.
pub(super) fn flag(value: &Value, pointer: &str) -> Option<bool> {
    value.pointer(pointer)?.as_bool()
}

/// A text of printable characters; none where it is empty.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = value.pointer(pointer)?.as_str()?;
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = printable.take(LONGEST_TEXT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The members of a list; none where it is no list.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Whether something else is where a list should be.
pub(super) fn is_no_list(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).is_some_and(|list| !list.is_array())
}
