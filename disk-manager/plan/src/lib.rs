//! Pure planning for disks: from what was observed to who owns each disk, and to the steps that
//! make a blank one ours. Nothing here reads a device, a clock or a random source.

pub mod report;
