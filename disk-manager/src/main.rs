//! The only privileged service: finds, judges, claims and mounts disks.

fn main() {}
