//! Which crate of ours may use which: the table of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::workspace;

/// The libraries that the agent wires together.
const AGENT_MAY_USE: &[&str] = &[
    "agent-api",
    "agent-dial",
    "agent-health",
    "agent-kv",
    "agent-object-store",
    "agent-proofs",
    "agent-s3",
    "agent-settlement",
    "agent-sla",
    "agent-support",
    "disk-manager-plan",
    "provisioning-config",
    "provisioning-protocol",
];

/// Allowed dependencies between our crates; a crate that is not listed may use none.
const ALLOWED: &[(&str, &[&str])] = &[
    ("agent", AGENT_MAY_USE),
    ("agent-api", &["disk-manager-plan", "agent-health"]),
    ("agent-health", &["agent-kv", "disk-manager-plan"]),
    ("agent-object-store", &["agent-object-store-pool", "agent-proofs"]),
    ("agent-s3", &["agent-object-store"]),
    ("agent-settle", &["agent-settlement", "agent-sla"]),
    ("agent-settlement", &["agent-dial"]),
    ("agent-sla", &["agent-dial", "agent-health", "agent-kv", "agent-proofs", "agent-settlement"]),
    ("agent-support", &["agent-api", "disk-manager-plan"]),
    ("bench", &["agent-object-store", "agent-object-store-pool"]),
    ("disk-manager", &["disk-manager-plan", "provisioning-config"]),
    (
        "fuzz",
        &[
            "agent-api",
            "agent-health",
            "agent-object-store",
            "agent-object-store-pool",
            "agent-proofs",
            "agent-s3",
            "agent-settlement",
            "agent-sla",
            "disk-manager-plan",
            "provisioning-config",
        ],
    ),
    ("image-init", &["agent-api", "provisioning-config"]),
    ("provisioning", &["provisioning-config", "provisioning-protocol"]),
    ("e2e", &["test-network"]),
    ("reference-oracle", &["agent-proofs", "agent-settlement", "agent-sla"]),
    ("tui", &["agent-api", "provisioning-config"]),
    ("xtask", &["test-network"]),
];

/// Our crates and, of each, the crates of ours that it names in any kind of dependency.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    packages
        .iter()
        .map(|package| {
            let ours = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|dependency| !dependency["path"].is_null())
                .map(name)
                .collect();
            (name(package), ours)
        })
        .collect()
}

#[test]
fn crates_depend_only_in_the_allowed_direction() {
    let edges = edges();
    assert!(edges.len() > 10, "the metadata lists the workspace");
    for (package, uses) in edges {
        let allowed =
            ALLOWED.iter().find(|(name, _)| *name == package).map_or(&[][..], |(_, uses)| uses);
        for used in uses {
            assert!(
                allowed.contains(&used.as_str()),
                "{package} must not depend on {used}: see \"Allowed dependencies\" in \
                 ARCHITECTURE.md"
            );
        }
    }
}
