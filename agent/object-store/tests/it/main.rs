//! Tests of the store through its public interface.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod volumes;
