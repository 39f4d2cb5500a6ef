//! Readings of the node's hardware, and their assessment.
