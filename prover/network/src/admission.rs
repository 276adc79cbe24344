//! Who may prove for a coordinator: everybody, or the provers on its owner's list.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::{task::ProverId, transport::prover_of};

/// Provers of a list: as many as a coordinator has connections for.
pub const LISTED_MAX: usize = 4_096;
/// Bytes of a list: every prover on a line with a long address and a remark.
const LIST_BYTES_MAX: u64 = 1 << 20;
/// Characters of a line that are repeated in an error.
const QUOTED_MAX: usize = 80;

/// Who may prove. Keys are what counts, because a connection proves them; a payout address proves nothing, since anybody can name anybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Whoever finds the coordinator.
    #[default]
    Everybody,
    /// These and nobody else.
    Listed(BTreeSet<ProverId>),
}

/// Why a list is not taken. Whoever wrote it is to blame.
#[derive(Debug, Error)]
pub enum AdmissionError {
    /// The disk.
    #[error("{}: {source}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// More than a list can be.
    #[error("{} is longer than {limit} bytes, which is no list of provers", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that a list may have.
        limit: u64,
    },
    /// More provers than a coordinator serves.
    #[error("{} lists more than {limit} provers", .path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Provers that may be listed.
        limit: usize,
    },
    /// A line that names nobody.
    #[error(
        "line {line} of {} is {text:?}, which names no prover: write a peer id (12D3KooW…), an address that ends in one, or a prover's name of 64 hexadecimal digits", .path.display()
    )]
    NoProver {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// How it begins.
        text: String,
    },
    /// Nobody is listed.
    #[error("{} lists no prover, so nobody could prove; for everybody, name no list", .path.display())]
    Nobody {
        /// The file.
        path: PathBuf,
    },
}

impl Admission {
    /// The provers in a file, one on a line: its peer id, an address that ends in it, or its name in reports. `#` begins a remark.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn of_file(path: &Path) -> Result<Self, AdmissionError> {
        let access = |source| AdmissionError::Access { path: path.to_owned(), source };
        let mut text = String::new();
        let mut file = File::open(path).map_err(access)?.take(LIST_BYTES_MAX + 1);
        file.read_to_string(&mut text).map_err(access)?;
        if text.len() as u64 > LIST_BYTES_MAX {
            return Err(AdmissionError::TooLong { path: path.to_owned(), limit: LIST_BYTES_MAX });
        }
        let mut listed = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let name = line.split_once('#').map_or(line, |(name, _)| name).trim();
            if name.is_empty() {
                continue;
            }
            let Some(prover) = prover_named(name) else {
                let text = name.chars().take(QUOTED_MAX).collect();
                return Err(AdmissionError::NoProver { path: path.to_owned(), line: index + 1, text });
            };
            listed.insert(prover);
            if listed.len() > LISTED_MAX {
                return Err(AdmissionError::TooMany { path: path.to_owned(), limit: LISTED_MAX });
            }
        }
        if listed.is_empty() { Err(AdmissionError::Nobody { path: path.to_owned() }) } else { Ok(Self::Listed(listed)) }
    }

    /// Whether this prover may.
    #[must_use]
    pub fn admits(&self, prover: &ProverId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Listed(listed) => listed.contains(prover),
        }
    }
}

fn prover_named(name: &str) -> Option<ProverId> {
    if let Some(prover) = ProverId::from_hex(name) {
        return Some(prover);
    }
    let peer = name.parse::<PeerId>().ok();
    let peer = peer.or_else(|| joule_transport::peer_of(&name.parse::<Multiaddr>().ok()?));
    prover_of(&peer?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::Identity;

    fn list(bytes: impl AsRef<[u8]>) -> Result<Admission, AdmissionError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provers");
        fs::write(&path, bytes).unwrap();
        Admission::of_file(&path)
    }

    #[test]
    fn a_prover_is_listed_by_each_of_its_names() {
        let identity = Identity::generate();
        let (peer, stranger) = (identity.keys().public().to_peer_id(), Identity::generate());
        for name in [peer.to_string(), format!("/ip4/10.0.0.7/tcp/9100/p2p/{peer}"), identity.id().to_string()] {
            let listed = list(format!("# ours\r\n\n  {name}  # the one in the cellar\n")).unwrap();
            assert!(listed.admits(&identity.id()), "{name}");
            assert!(!listed.admits(&stranger.id()));
        }
        assert!(Admission::Everybody.admits(&stranger.id()));
    }

    #[test]
    fn what_is_no_list_is_refused_and_says_where() {
        let peer = Identity::generate().keys().public().to_peer_id();
        let wrong = list(format!("{peer}\n# a remark\n0x00000000000000000000000000000000000000aa\n"));
        assert!(matches!(wrong, Err(AdmissionError::NoProver { line: 3, .. })), "a payout address: {wrong:?}");
        // A peer id of a hashed key does not show the key that leases are signed with.
        let hashed = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        assert!(matches!(list(hashed), Err(AdmissionError::NoProver { line: 1, .. })));
        let bare = list("/ip4/10.0.0.7/tcp/9100");
        assert!(matches!(bare, Err(AdmissionError::NoProver { .. })), "{bare:?}");
        for nobody in ["", "\n\n", "# nobody yet"] {
            assert!(matches!(list(nobody), Err(AdmissionError::Nobody { .. })));
        }
        assert!(matches!(list(vec![b'#'; LIST_BYTES_MAX as usize + 1]), Err(AdmissionError::TooLong { .. })));
        let many: String = (0..=LISTED_MAX).map(|number| format!("{number:064x}\n")).collect();
        assert!(matches!(list(many), Err(AdmissionError::TooMany { limit: LISTED_MAX, .. })));
        assert!(matches!(list([0xff, 0xfe]), Err(AdmissionError::Access { .. })), "no text");
        assert!(matches!(Admission::of_file(Path::new("/nowhere")), Err(AdmissionError::Access { .. })));
    }

    proptest! {
        #[test]
        fn no_list_panics(text in ".{0,200}") {
            let _ = list(text);
        }
    }
}
