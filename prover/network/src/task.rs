//! Tasks, what provers can do, and leases.

use core::fmt;

use joule_protocol::{Address, Amount, Digest, PublicValues};
use sha2::{Digest as _, Sha256};

use crate::wire::{Reader, Wire, WireError, put_bytes, put_list};

/// Artefacts that a task takes: two for a merge.
pub const INPUTS_MAX: usize = 2;
/// Bytes of an artefact: the private input of the largest segment.
pub const ARTEFACT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a public key as libp2p encodes it.
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of a signature by such a key.
pub const SIGNATURE_BYTES_MAX: usize = 128;
/// Tasks that one prover may say it does side by side.
pub const PARALLEL_MAX: u8 = 16;

macro_rules! digests {
    ($( $(#[$doc:meta])* $name:ident $what:literal )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..6].iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl Wire for $name {
            const WHAT: &'static str = $what;

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
                input.array().map(Self)
            }
        }
    )* };
}

digests! {
    /// An input or a result, by the SHA-256 of its bytes.
    ArtefactId "artefact's digest"
    /// A task, by the SHA-256 of its encoding: the same work asked for twice is one task.
    TaskId "task's digest"
    /// A prover, by the SHA-256 of its public key's encoding.
    ProverId "prover's digest"
    /// A lease, by the SHA-256 of what both sides sign.
    LeaseId "lease's digest"
    /// The circuits that both sides must share, as the engine digests them.
    CircuitsId "circuits' digest"
}

impl ArtefactId {
    /// The artefact that these bytes are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl ProverId {
    /// The prover with this public key, as libp2p encodes it.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        Self(Sha256::digest(public_key).into())
    }

    /// The prover that a report calls by these 64 hexadecimal digits. `None` if they are not.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
        let mut name = [0; 32];
        for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (16 * digit(0)? + digit(1)?) as u8;
        }
        Some(Self(name))
    }
}

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TaskKind {
    /// Run a segment, prove its tables, verify that in a circuit, and lift it.
    Segment = 0,
    /// Merge two neighbours, or pass one on.
    Merge = 1,
    /// Make the last merge small and wrap it for L1.
    Wrap = 2,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Segment, Self::Merge, Self::Wrap];

    /// The name in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Merge => "merge",
            Self::Wrap => "wrap",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Wire for TaskKind {
    const WHAT: &'static str = "kind of task";

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let got = input.u8()?;
        Self::ALL.into_iter().find(|kind| *kind as u8 == got).ok_or(WireError::Unknown { what: Self::WHAT, got })
    }
}

/// What is to be proven, for how much, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The kind of work.
    pub kind: TaskKind,
    /// For segments the shape that the run fits, by its place among the program's shapes; otherwise 0.
    pub shape: u8,
    /// What the proof must say. A true proof of something else is no result.
    pub statement: PublicValues,
    /// The circuits to prove with.
    pub circuits: CircuitsId,
    /// What it takes, in order: one artefact, or the two neighbours of a merge.
    pub inputs: Vec<ArtefactId>,
    /// Bytes of each input, so that a prover knows what it has to fetch.
    pub input_bytes: Vec<u64>,
    /// When it should be done, in Unix milliseconds. Work does not stop being needed then; earlier deadlines are given out first.
    pub deadline_ms: u64,
    /// What is paid for it on L2, in the base token's smallest unit.
    pub price: Amount,
}

impl Task {
    /// The digest that names it.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId(Sha256::digest(self.encode()).into())
    }
}

impl Wire for Task {
    const WHAT: &'static str = "task";

    fn write(&self, out: &mut Vec<u8>) {
        self.kind.write(out);
        out.push(self.shape);
        write_statement(&self.statement, out);
        self.circuits.write(out);
        put_list(out, &self.inputs);
        self.input_bytes.iter().for_each(|bytes| out.extend_from_slice(&bytes.to_be_bytes()));
        out.extend_from_slice(&self.deadline_ms.to_be_bytes());
        out.extend_from_slice(&self.price.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let (kind, shape) = (TaskKind::read(input)?, input.u8()?);
        let statement = read_statement(input)?;
        let circuits = CircuitsId::read(input)?;
        let inputs: Vec<ArtefactId> = input.list("inputs of a task", INPUTS_MAX)?;
        let wanted = if kind == TaskKind::Merge { 1..=2 } else { 1..=1 };
        if !wanted.contains(&inputs.len()) {
            return Err(WireError::OutOfRange { what: "number of a task's inputs", got: inputs.len() as u64 });
        }
        let input_bytes = inputs.iter().map(|_| match input.u64()? {
            got if got == 0 || got > ARTEFACT_BYTES_MAX => {
                Err(WireError::OutOfRange { what: "length of an input", got })
            }
            bytes => Ok(bytes),
        });
        let input_bytes = input_bytes.collect::<Result<_, _>>()?;
        let (deadline_ms, price) = (input.u64()?, amount(input)?);
        Ok(Self { kind, shape, statement, circuits, inputs, input_bytes, deadline_ms, price })
    }
}

fn write_statement(statement: &PublicValues, out: &mut Vec<u8>) {
    out.extend_from_slice(&statement.program.to_hash().0);
    out.extend_from_slice(&statement.chain_id.to_be_bytes());
    out.extend_from_slice(&statement.from.0);
    out.extend_from_slice(&statement.to.0);
}

fn read_statement(input: &mut Reader<'_>) -> Result<PublicValues, WireError> {
    let program = Digest::from_hash(input.hash()?)
        .map_err(|error| WireError::OutOfRange { what: "program hash", got: error.got })?;
    Ok(PublicValues { program, chain_id: input.u64()?, from: input.hash()?, to: input.hash()? })
}

fn amount(input: &mut Reader<'_>) -> Result<Amount, WireError> {
    match input.u128()? {
        got if got >= joule_protocol::limits::AMOUNT_MAX => {
            Err(WireError::OutOfRange { what: "amount", got: (got >> 64) as u64 })
        }
        amount => Ok(amount),
    }
}

/// What a machine can do, as `joule-prover calibrate` measured it and its owner declares it. A prover is offered nothing else; one that overstates
/// itself loses leases and then its standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Who is paid on L2.
    pub payout: Address,
    /// The circuits it has.
    pub circuits: CircuitsId,
    /// What it does, with how long each takes it.
    pub work: Vec<Ability>,
    /// Memory that it gives to proving.
    pub memory_mebibytes: u32,
    /// Tasks that it does side by side.
    pub parallel: u8,
}

/// One kind of work that a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ability {
    /// The kind.
    pub kind: TaskKind,
    /// For segments the largest shape; otherwise 0.
    pub shape: u8,
    /// How long one takes it, measured.
    pub milliseconds: u32,
}

impl Capabilities {
    /// How long the task takes this prover; `None` if it does not do it.
    #[must_use]
    pub fn milliseconds_for(&self, task: &Task) -> Option<u32> {
        let does = |ability: &&Ability| ability.kind == task.kind && ability.shape >= task.shape;
        let fastest = self.work.iter().filter(does).map(|ability| ability.milliseconds).min();
        fastest.filter(|_| self.circuits == task.circuits)
    }
}

/// Abilities that one prover may declare: each kind in each of a few shapes.
pub const ABILITIES_MAX: usize = 16;

impl Wire for Ability {
    const WHAT: &'static str = "ability";

    fn write(&self, out: &mut Vec<u8>) {
        self.kind.write(out);
        out.push(self.shape);
        out.extend_from_slice(&self.milliseconds.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { kind: TaskKind::read(input)?, shape: input.u8()?, milliseconds: input.u32()? })
    }
}

impl Wire for Capabilities {
    const WHAT: &'static str = "capabilities";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payout.0);
        self.circuits.write(out);
        put_list(out, &self.work);
        out.extend_from_slice(&self.memory_mebibytes.to_be_bytes());
        out.push(self.parallel);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let payout = input.address()?;
        if payout.is_zero() {
            return Err(WireError::OutOfRange { what: "payout address", got: 0 });
        }
        let (circuits, work) = (CircuitsId::read(input)?, input.list("abilities", ABILITIES_MAX)?);
        let memory_mebibytes = input.u32()?;
        match input.u8()? {
            parallel @ 1..=PARALLEL_MAX => Ok(Self { payout, circuits, work, memory_mebibytes, parallel }),
            got => Err(WireError::OutOfRange { what: "number of parallel tasks", got: got.into() }),
        }
    }
}

/// A prover's claim on a task. Both sides sign it, so that either can show what was agreed: the coordinator that the prover took the task, the prover
/// what it will be paid for the first good result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// Who works on it.
    pub prover: ProverId,
    /// Who is paid.
    pub payout: Address,
    /// What the first good result is paid.
    pub price: Amount,
    /// When it was given, in Unix milliseconds.
    pub granted_ms: u64,
    /// Until when the task is this prover's alone, as long as it beats.
    pub deadline_ms: u64,
    /// How often it says that it is still at work.
    pub heartbeat_ms: u32,
    /// Tells leases of one prover on one task apart.
    pub serial: u64,
}

impl Lease {
    /// What both sides sign.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"Joule prover lease 1".to_vec();
        self.write(&mut bytes);
        bytes
    }

    /// The digest that names it.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        LeaseId(Sha256::digest(self.signed_bytes()).into())
    }
}

impl Wire for Lease {
    const WHAT: &'static str = "lease";

    fn write(&self, out: &mut Vec<u8>) {
        self.task.write(out);
        self.prover.write(out);
        out.extend_from_slice(&self.payout.0);
        out.extend_from_slice(&self.price.to_be_bytes());
        out.extend_from_slice(&self.granted_ms.to_be_bytes());
        out.extend_from_slice(&self.deadline_ms.to_be_bytes());
        out.extend_from_slice(&self.heartbeat_ms.to_be_bytes());
        out.extend_from_slice(&self.serial.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            task: TaskId::read(input)?,
            prover: ProverId::read(input)?,
            payout: input.address()?,
            price: amount(input)?,
            granted_ms: input.u64()?,
            deadline_ms: input.u64()?,
            heartbeat_ms: input.u32()?,
            serial: input.u64()?,
        })
    }
}

/// A signature with the key that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The public key, as libp2p encodes it.
    pub key: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Wire for Signed {
    const WHAT: &'static str = "signature";

    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.key);
        put_bytes(out, &self.signature);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let key = input.bytes("bytes of a public key", KEY_BYTES_MAX)?.to_vec();
        let signature = input.bytes("bytes of a signature", SIGNATURE_BYTES_MAX)?.to_vec();
        Ok(Self { key, signature })
    }
}
