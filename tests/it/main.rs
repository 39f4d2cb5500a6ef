//! Whole-node tests.
