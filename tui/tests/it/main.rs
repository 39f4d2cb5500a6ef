//! The program on a terminal whose size the kernel does not know, as on a serial line.

#[cfg(test)]
mod serial;
