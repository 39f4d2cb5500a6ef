//! The probe on disk images that real tools have made.

#[cfg(test)]
mod erased;
#[cfg(test)]
mod images;
#[cfg(test)]
mod survey;
