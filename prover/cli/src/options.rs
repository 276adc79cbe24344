//! Options that several commands share.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use joule_machine::kernel_image;
use joule_protocol::Address;
use joule_prover_engine::{CacheFolder, CacheFolderError, CircuitVerifier, VERIFIER_BYTES_MAX};
use joule_prover_network::{Identity, Multiaddr, TaskKind};
use joule_tables::{config, program::Program, shape::Shape};
use serde::Serialize;

use crate::{
    calibrate::ShapeChoice,
    join::{KindChoice, address},
};

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

/// Which circuits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CircuitsOption {
    /// How much soundness is paid for.
    #[arg(long, value_enum, default_value_t = Profile::Fast)]
    pub(crate) profile: Profile,
    #[command(flatten)]
    pub(crate) cache: CacheOption,
}

/// Which proofs, and what verifies them and names their circuits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProofsOption {
    #[command(flatten)]
    circuits: CircuitsOption,
    /// What verifies results [default: what `joule-prover setup` left for the profile].
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
}

impl ProofsOption {
    pub(crate) const fn profile(&self) -> Profile {
        self.circuits.profile
    }

    pub(crate) const fn cache(&self) -> &CacheOption {
        &self.circuits.cache
    }

    /// What mends a verifier that is missing or another version's.
    pub(crate) fn setup(&self) -> String {
        format!("joule-prover setup --profile {}", self.profile().name())
    }

    /// The verifier's file.
    pub(crate) fn verifier_path(&self) -> Result<PathBuf, CacheFolderError> {
        match &self.verifier {
            Some(path) => Ok(path.clone()),
            None => self.cache().verifier_path(self.profile()),
        }
    }

    pub(crate) fn load(&self) -> anyhow::Result<CircuitVerifier> {
        let path = self.verifier_path()?;
        let verifier = read_verifier(&path)
            .with_context(|| format!("{}: `{}` makes circuits, keys and this file", path.display(), self.setup()))?;
        ensure!(
            verifier.profile() == self.profile().recursion(),
            "{} is of profile {name}: say --profile {name}, or name another file",
            path.display(),
            name = verifier.profile().name()
        );
        Ok(verifier)
    }

    /// The same, held to the program of this version, which takes seconds and some memory to compute.
    pub(crate) fn load_for_this_version(&self) -> anyhow::Result<CircuitVerifier> {
        let verifier = self.load()?;
        // Proofs about another version's program are true, and of no use to this one; a prover that made them would be refused for it.
        let program = Program::of_image(kernel_image(), &Shape::ALL).context("setting the image up")?.hash();
        ensure!(
            verifier.program() == program,
            "the verifier is for program {}, and this version has {program}: `{}` makes it anew",
            verifier.program(),
            self.setup()
        );
        Ok(verifier)
    }
}

/// Which network of provers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CoordinatorOption {
    /// The coordinator, with its peer id.
    #[arg(long, value_name = "MULTIADDR", env = "JOULE_COORDINATOR")]
    pub(crate) coordinator: Multiaddr,
}

/// For whom work is done there, and which.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NetworkOption {
    #[command(flatten)]
    pub(crate) at: CoordinatorOption,
    /// Who is paid on L2.
    #[arg(long, value_name = "ADDRESS", value_parser = address, env = "JOULE_PAYOUT")]
    pub(crate) payout: Address,
    /// Segments of which shapes [default: those that fit the memory].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) shapes: Vec<ShapeChoice>,
    /// Which kinds of tasks [default: those that fit the memory].
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<KindChoice>,
}

impl NetworkOption {
    /// Which kinds were asked for; all if none is named.
    pub(crate) fn kinds(&self) -> Vec<TaskKind> {
        self.kinds.iter().map(|kind| kind.kind()).collect()
    }
}

fn read_verifier(path: &Path) -> anyhow::Result<CircuitVerifier> {
    let length = fs::metadata(path)?.len();
    ensure!(length <= VERIFIER_BYTES_MAX as u64, "{length} bytes are more than any verifier has");
    Ok(CircuitVerifier::from_bytes(&fs::read(path)?)?)
}
