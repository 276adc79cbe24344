//! Imports point one way, and what is true depends on nothing that may fail: invariants 3 and 4 of the README.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder of a crate, and the crates of this workspace that it may depend on outside of its tests.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("circuits/protocol", &[]),
    ("circuits/kernel", &["joule-protocol"]),
    ("circuits/machine", &["joule-protocol"]),
    ("circuits/tables", &["joule-protocol", "joule-machine"]),
    ("circuits/recursion", &["joule-protocol", "joule-machine", "joule-tables"]),
    ("circuits/wrap", &["joule-protocol", "joule-recursion"]),
    ("node/state", &["joule-protocol", "joule-kernel"]),
    ("node/storage", &["joule-protocol", "joule-kernel", "joule-state"]),
    ("node/sequencer", &["joule-protocol", "joule-kernel", "joule-state"]),
    ("node/l1", &["joule-protocol", "joule-contracts"]),
    ("node/settlement", &["joule-protocol", "joule-committee", "joule-contracts", "joule-l1", "joule-storage"]),
    (
        "node/follow",
        &[
            "joule-protocol",
            "joule-kernel",
            "joule-state",
            "joule-storage",
            "joule-l1",
            "joule-committee",
            "joule-committee-client",
        ],
    ),
    (
        "node/operator",
        &[
            "joule-protocol",
            "joule-kernel",
            "joule-machine",
            "joule-tables",
            "joule-prover-engine",
            "joule-prover-network",
            "joule-contracts",
            "joule-committee",
            "joule-committee-client",
            "joule-l1",
            "joule-state",
            "joule-storage",
            "joule-settlement",
        ],
    ),
    ("node/rpc", &["joule-protocol", "joule-kernel", "joule-state", "joule-storage"]),
    ("node/wallet", &["joule-protocol", "joule-contracts", "joule-rpc"]),
    ("node/p2p", &["joule-protocol", "joule-state", "joule-transport"]),
    ("node/transport", &[]),
    (
        "node/cli",
        &[
            "joule-protocol",
            "joule-kernel",
            "joule-state",
            "joule-storage",
            "joule-sequencer",
            "joule-l1",
            "joule-settlement",
            "joule-operator",
            "joule-follow",
            "joule-machine",
            "joule-tables",
            "joule-prover-engine",
            "joule-prover-network",
            "joule-prover-scaler",
            "joule-rpc",
            "joule-p2p",
            "joule-committee",
            "joule-committee-client",
            "joule-contracts",
            "joule-workload",
        ],
    ),
    ("node/workload", &["joule-protocol", "joule-kernel", "joule-state"]),
    ("contracts/bindings", &["joule-protocol"]),
    ("dac/committee", &["joule-protocol", "joule-contracts"]),
    ("dac/client", &["joule-protocol", "joule-state", "joule-committee", "joule-transport"]),
    (
        "dac/member",
        &[
            "joule-protocol",
            "joule-kernel",
            "joule-state",
            "joule-storage",
            "joule-follow",
            "joule-l1",
            "joule-contracts",
            "joule-committee",
            "joule-committee-client",
            "joule-transport",
            "joule-workload",
        ],
    ),
    ("testnet/l1", &["joule-contracts"]),
    ("testnet/support", &["joule-contracts", "joule-protocol", "joule-testnet-l1"]),
    (
        "testnet/scenarios",
        &[
            "joule-committee",
            "joule-committee-client",
            "joule-contracts",
            "joule-dac",
            "joule-l1",
            "joule-machine",
            "joule-node",
            "joule-operator",
            "joule-prover-engine",
            "joule-protocol",
            "joule-rpc",
            "joule-sequencer",
            "joule-settlement",
            "joule-state",
            "joule-storage",
            "joule-tables",
            "joule-testnet-l1",
            "joule-testnet-support",
            "joule-workload",
        ],
    ),
    (
        "testnet/cli",
        &[
            "joule-scenarios",
            "joule-committee",
            "joule-committee-client",
            "joule-contracts",
            "joule-l1",
            "joule-machine",
            "joule-node",
            "joule-operator",
            "joule-prover-engine",
            "joule-prover-network",
            "joule-protocol",
            "joule-recursion",
            "joule-rpc",
            "joule-sequencer",
            "joule-settlement",
            "joule-state",
            "joule-storage",
            "joule-tables",
            "joule-testnet-l1",
            "joule-testnet-support",
            "joule-workload",
        ],
    ),
    (
        "prover/engine",
        &["joule-protocol", "joule-kernel", "joule-machine", "joule-tables", "joule-recursion", "joule-wrap"],
    ),
    ("prover/network", &["joule-protocol", "joule-machine", "joule-tables", "joule-prover-engine", "joule-transport"]),
    ("prover/scaler", &["joule-prover-network"]),
    (
        "prover/cli",
        &[
            "joule-protocol",
            "joule-kernel",
            "joule-machine",
            "joule-tables",
            "joule-recursion",
            "joule-wrap",
            "joule-state",
            "joule-workload",
            "joule-prover-engine",
            "joule-prover-network",
            "joule-prover-scaler",
        ],
    ),
];

/// Libraries of runtimes, clocks, networks and disks, which nothing in circuits/ may use.
const OUTSIDE_WORLD: &[&str] = &["tokio", "alloy", "libp2p", "rocksdb", "axum", "jsonrpsee", "revm", "reqwest"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names in the `[dependencies]` section of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn imports_point_one_way() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let members =
        workspace.lines().skip_while(|line| !line.starts_with("members")).skip(1).take_while(|line| *line != "]");
    for member in members.map(|line| line.trim().trim_matches(['"', ','])) {
        let (_, allowed) = DIRECTIONS
            .iter()
            .find(|(folder, _)| *folder == member)
            .unwrap_or_else(|| panic!("{member} is a crate without a direction: add it to DIRECTIONS"));
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).expect("a member has a manifest");
        for dependency in dependencies(&manifest) {
            let is_ours = dependency.starts_with("joule-");
            assert!(!is_ours || allowed.contains(&dependency.as_str()), "{member} must not depend on {dependency}");
            let is_outside = OUTSIDE_WORLD.contains(&dependency.as_str());
            assert!(!is_outside || !member.starts_with("circuits/"), "{member} must not depend on {dependency}");
        }
    }
}

#[test]
fn constraints_import_no_trace_code() {
    fn visit(folder: &Path, found: &mut usize) {
        for entry in fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                visit(&entry, found);
            } else if entry.file_name().is_some_and(|name| name == "constraints.rs") {
                *found += 1;
                let text = fs::read_to_string(&entry).expect("a source file");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                for line in code.take_while(|line| !line.contains("#[cfg(test)]")) {
                    // The machine's layout and its image format are what is proven; its interpreter and records are how.
                    let machine = line.replace("joule_machine::layout", "").replace("joule_machine::Image", "");
                    assert!(
                        !line.contains("trace::") && !machine.contains("joule_machine"),
                        "{} imports trace code or the interpreter: {line}",
                        entry.display()
                    );
                }
            }
        }
    }
    let mut found = 0;
    visit(&root().join("circuits/tables/src"), &mut found);
    assert!(found > 0, "the tables have constraints");
}
