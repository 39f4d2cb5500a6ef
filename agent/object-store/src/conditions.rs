//! Conditions on reads and writes (RFC 9110, section 13), decided without touching anything.

use crate::error::StoreError;
use crate::names::{ETag, UnixMillis};

/// Which entity tags a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagMatch {
    /// `*`: any object, as long as there is one.
    Any,
    /// One of these.
    OneOf(Vec<ETag>),
}

impl TagMatch {
    fn holds(&self, tag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(tag),
        }
    }
}

/// Conditions on reading an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadConditions {
    /// Read only if the entity tag is one of these.
    pub if_match: Option<TagMatch>,
    /// Read only if the entity tag is none of these.
    pub if_none_match: Option<TagMatch>,
    /// Read only if it changed after this moment.
    pub if_modified_since: Option<UnixMillis>,
    /// Read only if it did not change after this moment.
    pub if_unmodified_since: Option<UnixMillis>,
}

/// What the conditions say of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadVerdict {
    /// Go on.
    Proceed,
    /// The reader has it already.
    NotModified,
    /// A condition does not hold.
    Failed(&'static str),
}

impl ReadConditions {
    /// Decides for an object, in the order of RFC 9110, section 13.2.2; dates compare by whole
    /// seconds, as HTTP carries no more.
    #[must_use]
    pub fn decide(&self, etag: &ETag, modified: UnixMillis) -> ReadVerdict {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.holds(etag) => return ReadVerdict::Failed("If-Match"),
            (None, Some(since)) if modified.seconds() > since.seconds() => {
                return ReadVerdict::Failed("If-Unmodified-Since");
            }
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.holds(etag) => ReadVerdict::NotModified,
            (None, Some(since)) if modified.seconds() <= since.seconds() => {
                ReadVerdict::NotModified
            }
            _ => ReadVerdict::Proceed,
        }
    }
}

/// Conditions on replacing or deleting an object. They are decided where the change becomes
/// visible, so of two writers that both ask for absence one fails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteConditions {
    /// Write only if there is no object.
    pub if_absent: bool,
    /// Write only if the entity tag of the present object is one of these.
    pub if_match: Option<TagMatch>,
}

impl WriteConditions {
    /// Decides against the present object's entity tag.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] with the condition that does not hold.
    pub fn check(&self, present: Option<&ETag>) -> Result<(), StoreError> {
        if self.if_absent && present.is_some() {
            return Err(StoreError::PreconditionFailed { condition: "If-None-Match" });
        }
        match (&self.if_match, present) {
            (Some(tags), Some(tag)) if tags.holds(tag) => Ok(()),
            (Some(_), _) => Err(StoreError::PreconditionFailed { condition: "If-Match" }),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> ETag {
        ETag::new(text).unwrap()
    }

    fn one(text: &str) -> Option<TagMatch> {
        Some(TagMatch::OneOf(vec![tag(text)]))
    }

    #[test]
    fn reads_follow_the_order_of_rfc_9110() {
        let at = UnixMillis(10_500);
        let verdict = |c: ReadConditions| c.decide(&tag("a"), at);
        let none = ReadConditions::default;
        assert_eq!(verdict(none()), ReadVerdict::Proceed);
        let c = ReadConditions { if_match: one("b"), ..none() };
        assert_eq!(verdict(c), ReadVerdict::Failed("If-Match"));
        // If-Match that holds makes If-Unmodified-Since irrelevant.
        let c = ReadConditions {
            if_match: one("a"),
            if_unmodified_since: Some(UnixMillis(0)),
            ..none()
        };
        assert_eq!(verdict(c), ReadVerdict::Proceed);
        let c = ReadConditions { if_unmodified_since: Some(UnixMillis(9_000)), ..none() };
        assert_eq!(verdict(c), ReadVerdict::Failed("If-Unmodified-Since"));
        let c = ReadConditions { if_modified_since: Some(UnixMillis(10_000)), ..none() };
        assert_eq!(verdict(c), ReadVerdict::NotModified);
        // If-None-Match that does not match makes If-Modified-Since irrelevant.
        let c = ReadConditions {
            if_none_match: one("b"),
            if_modified_since: Some(UnixMillis(99_000)),
            ..none()
        };
        assert_eq!(verdict(c), ReadVerdict::Proceed);
        let c = ReadConditions { if_none_match: Some(TagMatch::Any), ..none() };
        assert_eq!(verdict(c), ReadVerdict::NotModified);
    }

    #[test]
    fn writes_can_ask_for_absence_or_for_one_content() {
        let absent = WriteConditions { if_absent: true, if_match: None };
        assert!(absent.check(None).is_ok());
        assert!(absent.check(Some(&tag("a"))).is_err());
        let same = WriteConditions { if_absent: false, if_match: one("a") };
        assert!(same.check(Some(&tag("a"))).is_ok());
        assert!(same.check(Some(&tag("b"))).is_err());
        assert!(same.check(None).is_err());
    }
}
