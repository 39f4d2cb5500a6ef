//! PID 1 of the node.

fn main() {}
