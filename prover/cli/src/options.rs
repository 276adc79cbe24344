//! Options that several commands share.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use joule_machine::kernel_image;
use joule_prover_engine::{CacheFolder, CacheFolderError, CircuitVerifier, VERIFIER_BYTES_MAX};
use joule_prover_network::Identity;
use joule_tables::{config, program::Program, shape::Shape};
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

/// Where a prover of a network keeps its key and what it measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FolderOption {
    /// Folder of this prover's key, calibration and inputs [default: $XDG_STATE_HOME/joule/prover or ~/.local/state/joule/prover].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl FolderOption {
    fn path(&self) -> anyhow::Result<PathBuf> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        self.folder
            .clone()
            .or_else(|| absolute("XDG_STATE_HOME").map(|state| state.join("joule/prover")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state/joule/prover")))
            .context(
                "there is no folder for this prover: set XDG_STATE_HOME or HOME to an absolute path, or pass --folder",
            )
    }

    /// The folder, which is made if it is missing.
    pub(crate) fn make(&self) -> anyhow::Result<PathBuf> {
        let path = self.path()?;
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Who this prover is.
    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        Ok(Identity::of_file(&self.make()?.join("prover.key"))?)
    }
}

/// What verifies results, and names the circuits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VerifierOption {
    /// What verifies results [default: what `joule-prover setup` left for the profile].
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
}

impl VerifierOption {
    /// The file that was named, for whoever starts others with it.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.verifier.as_deref()
    }

    pub(crate) fn load(&self, cache: &CacheOption, profile: Profile) -> anyhow::Result<CircuitVerifier> {
        let path = match &self.verifier {
            Some(path) => path.clone(),
            None => cache.verifier_path(profile)?,
        };
        let setup = || {
            format!(
                "{}: `joule-prover setup --profile {}` makes circuits, keys and this file",
                path.display(),
                profile.name()
            )
        };
        let verifier = read_verifier(&path).with_context(setup)?;
        ensure!(
            verifier.profile() == profile.recursion(),
            "{} is of profile {name}: say --profile {name}, or name another file",
            path.display(),
            name = verifier.profile().name()
        );
        Ok(verifier)
    }

    /// The same, held to the program of this version, which takes seconds and some memory to compute.
    pub(crate) fn load_for_this_version(
        &self,
        cache: &CacheOption,
        profile: Profile,
    ) -> anyhow::Result<CircuitVerifier> {
        let verifier = self.load(cache, profile)?;
        // Proofs about another version's program are true, and of no use to this one; a prover that made them would be refused for it.
        let program = Program::of_image(kernel_image(), &Shape::ALL).context("setting the image up")?.hash();
        ensure!(
            verifier.program() == program,
            "the verifier is for program {}, and this version has {program}: `joule-prover setup --profile {}` makes it anew",
            verifier.program(),
            profile.name()
        );
        Ok(verifier)
    }
}

fn read_verifier(path: &Path) -> anyhow::Result<CircuitVerifier> {
    let length = fs::metadata(path)?.len();
    ensure!(length <= VERIFIER_BYTES_MAX as u64, "{length} bytes are more than any verifier has");
    Ok(CircuitVerifier::from_bytes(&fs::read(path)?)?)
}
