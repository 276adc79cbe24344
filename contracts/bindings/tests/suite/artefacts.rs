//! Are the committed artefacts those of the sources beside them?

use std::{collections::BTreeMap, fs, path::Path};

use sha2::{Digest, Sha256};

fn walk(root: &Path, folder: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a plain name"));
        // Interface files of L2's system contracts compile to no code on L1.
        if path == "src/l2" {
            continue;
        }
        if entry.path().is_dir() {
            walk(root, &path, found);
        } else if path.ends_with(".sol") {
            found.push(path);
        }
    }
}

#[test]
fn artefacts_are_not_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the contracts folder");
    let text = fs::read_to_string(root.join("artefacts/sources.json")).expect("artefacts/sources.json");
    let recorded: BTreeMap<String, String> = serde_json::from_str(&text).expect("a map of digests");

    let mut paths = Vec::new();
    walk(root, "src", &mut paths);
    for path in ["foundry.toml", "package-lock.json", "tests/helpers/Probe.sol", "tests/helpers/TestVerifier.sol"] {
        paths.push(path.to_owned());
    }
    let present: BTreeMap<String, String> = paths
        .into_iter()
        .map(|path| {
            let digest = hex::encode(Sha256::digest(fs::read(root.join(&path)).expect("a source")));
            (path, digest)
        })
        .collect();

    let changed: Vec<_> =
        present.iter().filter(|&(path, digest)| recorded.get(path) != Some(digest)).map(|(path, _)| path).collect();
    let gone: Vec<_> = recorded.keys().filter(|&path| !present.contains_key(path)).collect();
    assert!(
        changed.is_empty() && gone.is_empty(),
        "contracts/artefacts are stale: run contracts/build (changed or new: {changed:?}; gone: {gone:?})"
    );
}
