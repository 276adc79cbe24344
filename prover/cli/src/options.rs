//! Options that several commands share.

use std::path::PathBuf;

use clap::ValueEnum;
use joule_prover_engine::{CacheFolder, CacheFolderError};
use joule_tables::config;
use serde::Serialize;

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// For development: fewer queries than any proof of soundness asks for.
    Fast,
    /// At least 100 provable bits in the tables, and what `joule-prover security` prints in every later layer.
    Proven,
}

impl Profile {
    pub(crate) const ALL: [Self; 2] = [Self::Fast, Self::Proven];

    pub(crate) const fn name(self) -> &'static str {
        self.recursion().name()
    }

    pub(crate) const fn tables(self) -> config::Profile {
        match self {
            Self::Fast => config::Profile::Fast,
            Self::Proven => config::Profile::Proven,
        }
    }

    pub(crate) const fn recursion(self) -> joule_recursion::profile::Profile {
        match self {
            Self::Fast => joule_recursion::profile::Profile::Fast,
            Self::Proven => joule_recursion::profile::Profile::Proven,
        }
    }
}

/// Where circuits and keys are kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CacheOption {
    /// Folder of built circuits and keys [default: $XDG_CACHE_HOME/joule or ~/.cache/joule].
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

impl CacheOption {
    pub(crate) fn folder(&self) -> Result<CacheFolder, CacheFolderError> {
        match &self.cache {
            Some(path) => Ok(CacheFolder::new(path)),
            None => CacheFolder::default_for_user(),
        }
    }

    /// The file that verifies results of a profile, which setup writes.
    pub(crate) fn verifier_path(&self, profile: Profile) -> Result<PathBuf, CacheFolderError> {
        Ok(self.folder()?.path().join(format!("verifier-{}.joule", profile.name())))
    }
}
