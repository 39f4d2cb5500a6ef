//! What a node makes for itself once and must never lose: its self-signed certificate, its first
//! user, the key of its pool, and the daemon key that signs for it. Mirrored as one small file on every data volume, so that any one
//! disk is enough.
//!
//! | rule | reason |
//! |---|---|
//! | the newest valid generation of this node wins, one after a factory reset before one of before it | a disk that was away for a while comes back |
//! | no record takes the place of one of fewer resets while that is in use | what is in use would have to be emptied |
//! | a disk of before a factory reset is emptied only if the node was not in use with it alone since ([`anew`]) | what is on it may be newer |
//! | at a start, disks that are not mounted yet are waited for, some minutes at most | the newest record may be on one |
//! | made only when no volume has a record, none is missing and none is unavailable | a lost disk must not change who may sign in |
//! | a damaged record is set aside, never overwritten in place | somebody may want to look at it |
//! | a record in a newer format, or one that cannot be read, is left alone and stops the making | an older release must not undo a newer one |
//! | a record of another node counts as none | a disk that changed hands brings no users along |
//! | the object store has a volume only once its record is settled ([`mirror`]) | what is on it may be of before a factory reset |
//! | after a factory reset, a volume with data and no readable record is used only where the pool's key opens it | nothing of before is served, and nothing is emptied that is not proven to be of before |
//!
//! The pool's key wraps the keys of the volumes. Until it is sealed by a TPM it lies in the record as
//! it is, beside the data. So it protects a disk that is retired, whose superblocks are destroyed, and
//! not one that is stolen. The same holds for the daemon key: whoever has one disk can speak for the
//! node until its HP revokes the key, but not move any money.
//!
//! Settings of the network that somebody confirmed while the node ran are kept here too, as the stick is never written.
//!
//! A node that is to be made new has that in its record on every disk first ([`anew`]); it is done at the next start of the
//! agent, before anything of the node is in use, and gone on with after a power cut.

mod anew;
mod decide;
mod decided;
mod file;
mod keeper;
mod mirror;
mod record;

pub(crate) use anew::reset_scope;
pub(crate) use decide::Surroundings;
pub(crate) use decided::{Decided, GivenKey};
pub(crate) use keeper::{Held, Identity, Keeper};
#[cfg(test)]
pub(crate) use record::example;
pub(crate) use record::{FirstUser, KeptNetwork, NodeState, SecretKey};
