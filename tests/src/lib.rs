//! Whole-node tests: built artefacts driven over network and serial, never by linking.
//!
//! The harness knows the node only as its users do: the image files, the stick's configuration,
//! the S3 port, the console on a serial line, the log on another, and the machine's own power
//! button and disk slots (through QEMU's QMP).

pub mod artefacts;
pub mod dice;
pub mod disks;
pub mod host;
pub mod lan;
pub mod machine;
pub mod ntp;
pub mod oracles;
pub mod picture;
pub mod qmp;
pub mod rack;
pub mod s3;
pub mod screen;
pub mod stick;
pub mod write_log;
