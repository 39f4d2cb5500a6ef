//! Tests of the store through its public interface.

mod crash;
mod driver;
mod objects;
mod sim;
mod uploads;
mod volumes;
