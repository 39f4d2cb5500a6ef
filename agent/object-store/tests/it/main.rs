//! Tests of the store through its public interface.

#[cfg(test)]
mod driver;
#[cfg(test)]
mod gathering;
#[cfg(test)]
mod hanging;
#[cfg(test)]
mod joining;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod replaced;
#[cfg(test)]
mod retiring;
#[cfg(test)]
mod standby;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod volumes;
