//! The folders of batches that are being proven: one for each batch and input, removed when nobody can ask for its proof any more.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use alloy::hex;
use joule_storage::{Database, StorageError};

/// Where a batch's results are. A batch may be sealed again under its number, after a reorg of L1: the context tells the two apart, and neither finds the other's results.
pub(crate) fn batch_folder(folder: &Path, number: u64, context: &[u8; 32]) -> PathBuf {
    folder.join(format!("batch-{number}-{}", hex::encode(&context[..8])))
}

/// The last batch that is executed on L1; 0 before the first. Its proof is in the settlement's own records.
pub(crate) fn executed(database: &Database) -> Result<u64, StorageError> {
    Ok(database.view()?.executed_batch()?.map_or(0, |batch| batch.number))
}

/// The folders of batches that are over. What does not look like one of ours is left alone.
pub(crate) fn over(folder: &Path, is_over: impl Fn(&Path, u64) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(number_of);
        if number.is_some_and(|number| is_over(&path, number)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn number_of(name: &str) -> Option<u64> {
    let (number, context) = name.strip_prefix("batch-")?.split_once('-')?;
    let is_context = context.len() == 16 && context.bytes().all(|byte| byte.is_ascii_hexdigit());
    number.parse().ok().filter(|_| is_context)
}

/// Removes a batch's folder; one that has gone already is gone.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_batches_that_are_over_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |number, byte| batch_folder(folder.path(), number, &[byte; 32]);
        assert!(over(&folder.path().join("missing"), |_, _| true).expect("nothing is there").is_empty());
        for path in [at(1, 1), at(2, 1), at(2, 2), at(3, 1)] {
            fs::create_dir(&path).expect("a folder");
            fs::write(path.join("segment-0.artefact"), b"bytes").expect("a file");
        }
        for stranger in ["batch-1", "batch-x-0101010101010101", "batch-1-zz", "notes", "batch-1-010101010101010g"] {
            fs::create_dir(folder.path().join(stranger)).expect("a folder");
        }
        let kept = at(2, 2);
        let found = over(folder.path(), |path, number| number < 3 && path != kept).expect("readable");
        assert_eq!(found.len(), 2);
        found.iter().for_each(|path| remove(path).expect("removed"));
        remove(&at(1, 1)).expect("gone is gone");
        assert!(!at(1, 1).exists() && !at(2, 1).exists());
        assert!(at(2, 2).exists() && at(3, 1).exists() && folder.path().join("notes").exists());
    }
}
