//! Whole-node tests: built artefacts driven over network and serial.
