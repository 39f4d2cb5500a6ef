//! Servers that lie, delay, repeat themselves and lag.
