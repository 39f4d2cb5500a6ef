//! What `wipefs --json` of util-linux answers. Pure; the fuzzer takes this file as it is.

use disk_manager_plan::observe::{Answer, Signature, Trouble};
use serde::Deserialize;

#[derive(Deserialize)]
struct WipefsAnswer {
    signatures: Vec<WipefsSignature>,
}

#[derive(Deserialize)]
struct WipefsSignature {
    offset: String,
    r#type: String,
}

/// The signatures that it found.
pub(crate) fn read_wipefs(text: &str) -> Answer<Vec<Signature>> {
    if text.trim().is_empty() {
        return Answer::Is(Vec::new());
    }
    let failed =
        |error: String| Answer::Failed(Trouble::Program { program: "wipefs".to_owned(), error });
    let answer: WipefsAnswer = match serde_json::from_str(text) {
        Ok(answer) => answer,
        Err(error) => return failed(format!("its answer is not understood: {error}")),
    };
    let mut found = Vec::new();
    for signature in answer.signatures {
        let digits = signature.offset.trim_start_matches("0x");
        let Ok(offset) = u64::from_str_radix(digits, 16) else {
            return failed(format!("its answer is not understood: offset {}", signature.offset));
        };
        found.push(Signature { name: signature.r#type, offset });
    }
    Answer::Is(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read_and_what_is_not_understood_is_no_blank_disk() {
        assert_eq!(read_wipefs("\n"), Answer::Is(Vec::new()));
        let text = r#"{"signatures":[{"device":"sda","offset":"0x1fe","type":"dos"}]}"#;
        let found = Signature { name: "dos".to_owned(), offset: 0x1fe };
        assert_eq!(read_wipefs(text), Answer::Is(vec![found]));
        for text in [r#"{"signatures":[{"offset":"x","type":"dos"}]}"#, "{}", "sda: dos"] {
            assert!(matches!(read_wipefs(text), Answer::Failed(_)), "{text}");
        }
    }
}
