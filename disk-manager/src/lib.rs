//! The only privileged service: finds, judges, claims and mounts disks.
//!
//! ```text
//!  udev, sysfs ──► device ──► probe ──► Inventory ──► plan() ──► apply ──► disks
//!                                ▲                      │ (pure)   │
//!                                └─────── a second look ┼──────────┘
//!                                                       ▼
//!                                            report ──► socket
//! ```
//!
//! [`service`] owns all state and runs on one thread; every look at a disk and every step runs on a
//! thread of its own, so that a disk that hangs holds up nobody. [`hardware`] answers, on a socket of its
//! own, what needs privileges and changes no disk but a stick that is labelled for support bundles. Nothing else is
//! written to a disk but by [`claim`], the ledger in [`apply`], and [`erase`] where a person wants it, and only after
//! a second look through the descriptor that
//! is written through.

pub mod apply;
pub mod blocks;
pub mod by_hand;
pub mod claim;
pub mod device;
pub mod erase;
pub mod firmware;
pub mod hardware;
pub mod held;
mod mountinfo;
pub mod mounts;
pub mod probe;
pub mod program;
pub mod serve;
pub mod service;
pub mod settings;
pub mod status;
pub mod survey;
pub mod sys;
pub mod target;
#[cfg(test)]
mod testing;
pub mod volume;
pub mod watch;
