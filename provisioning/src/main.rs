//! The fleet manager's command line.

fn main() {}
