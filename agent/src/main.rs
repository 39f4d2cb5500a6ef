//! The node's agent: wiring of the S3 service, health, control socket and start-up.

fn main() {}
