//! `[support]`.

use crate::Support;
use crate::section::Section;
use crate::value;

/// Most recipients of a bundle: each of a handful of people has a key or two.
const MAX_RECIPIENTS: usize = 16;

pub(super) fn support(section: &mut Section<'_, '_, '_>) -> Option<Support> {
    let recipients = section.texts("recipients", MAX_RECIPIENTS, value::recipient);
    Some(Support { recipients: recipients.unwrap_or_default() })
}
