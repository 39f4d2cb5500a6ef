//! The console on tty1 and the serial line.

fn main() {}
