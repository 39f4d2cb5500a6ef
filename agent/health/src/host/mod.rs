//! Everything of the machine but its disks' own data: one module for each source, each with reading (thin),
//! numbers and judgement (pure). Roots of /sys and /proc are parameters, so that tests can stand in for them.

pub mod disk_activity;
pub mod kernel_log;
pub mod latency;
pub mod management;
pub mod memory_modules;
pub mod network;
pub mod pcie;
pub mod processor;
pub mod sensors;
pub mod slots;
mod sysfs;
pub mod uptime;
