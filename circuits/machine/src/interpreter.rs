//! The interpreter: one loop for plain runs, records and profiles.

use crate::{
    abort::{Abort, Reason},
    image::Image,
    instruction::{Instruction, Op},
    layout::{
        CALL_ARGUMENT_REGISTER, CALL_COMMIT, CALL_ECRECOVER, CALL_HALT, CALL_KECCAK_F, CALL_POSEIDON2_HASH,
        CALL_TREE_UPDATE, CHAIN_ID_END, CLOCK_START, CLOCK_STRIDE, COMMIT_WORDS, CYCLES_MAX, DIGEST_WORDS,
        ECRECOVER_WORDS, HASH_WORDS_MAX, KECCAK_WORDS, SLOT_FIRST, SLOT_PRECOMPILE, SLOT_PRECOMPILE_OUTPUT,
        SLOT_SECOND, SLOT_THIRD, TREE_UPDATE_WORDS,
    },
    memory::Memory,
    observe::{Event, Observer},
    poseidon2,
    records::{Access, CommitEvent, Cycle, HashEvent, KeccakEvent, MemoryWord, RecoverEvent, RegisterWord, TreeEvent},
    recover::{self, recover},
    run::{Limits, PrecompileCounts, Witness},
};

/// A program in the middle of a run.
pub(crate) struct Interpreter<'a, O: Observer, const RECORDS: bool> {
    image: &'a Image,
    witness: &'a Witness,
    limits: Limits,
    pub(crate) observer: O,
    memory: Memory<'a, RECORDS>,
    registers: [u32; 32],
    register_timestamps: [u32; 32],
    pc: u32,
    cycles: u32,
    pub(crate) counts: PrecompileCounts,
    pub(crate) committed: Option<[u32; COMMIT_WORDS]>,
}

/// How the loop goes on after an instruction.
enum Flow {
    Next(u32),
    Halt(u32),
}

impl<'a, O: Observer, const RECORDS: bool> Interpreter<'a, O, RECORDS> {
    pub(crate) fn new(image: &'a Image, witness: &'a Witness, limits: Limits, observer: O) -> Result<Self, Abort> {
        const { assert!(O::RECORDS == RECORDS) };
        let memory = Memory::new(image, &witness.input, limits.pages).map_err(|reason| Abort {
            cycles: 0,
            pc: image.entry(),
            op: None,
            routine: None,
            reason,
        })?;
        Ok(Self {
            image,
            witness,
            limits: Limits { cycles: limits.cycles.min(CYCLES_MAX), ..limits },
            observer,
            memory,
            registers: [0; 32],
            register_timestamps: [0; 32],
            pc: image.entry(),
            cycles: 0,
            counts: PrecompileCounts::default(),
            committed: None,
        })
    }

    /// Runs to the halt, and returns the exit code.
    pub(crate) fn run(&mut self) -> Result<u32, Abort> {
        match self.execute() {
            Ok(exit_code) => Ok(exit_code),
            Err(reason) => Err(Abort {
                cycles: self.cycles,
                pc: self.pc,
                op: self.image.instruction(self.pc).map(|instruction| instruction.op),
                routine: self.image.routine_name(self.pc),
                reason,
            }),
        }
    }

    fn execute(&mut self) -> Result<u32, Reason> {
        let image = self.image;
        let (text, text_start) = (image.instructions(), image.text_start());
        loop {
            let pc = self.pc;
            // Every jump checks the alignment of its target, so the division loses nothing.
            let Some(&instruction) = text.get((pc.wrapping_sub(text_start) / 4) as usize) else {
                return Err(Reason::NoInstruction);
            };
            if self.cycles >= self.limits.cycles {
                return Err(Reason::CycleLimit { limit: self.limits.cycles });
            }
            let next_pc = match self.step(pc, instruction)? {
                Flow::Next(next_pc) => next_pc,
                Flow::Halt(exit_code) => {
                    self.cycles += 1;
                    return Ok(exit_code);
                }
            };
            self.pc = next_pc;
            self.cycles += 1;
        }
    }

    /// The clock of the current cycle.
    #[inline(always)]
    fn clock(&self) -> u32 {
        // `CYCLES_MAX` keeps this below 2^32.
        CLOCK_START.wrapping_add(CLOCK_STRIDE.wrapping_mul(self.cycles))
    }

    #[inline(always)]
    fn step(&mut self, pc: u32, instruction: Instruction) -> Result<Flow, Reason> {
        let Instruction { op, rd, rs1, rs2, immediate } = instruction;
        let first = self.read_register(rs1, SLOT_FIRST);
        // A load has no second register; its memory word takes the slot below.
        let mut second = self.read_register(rs2, SLOT_SECOND);
        let mut third = Access::NONE;
        let (a, b) = (first.after, second.after);

        let mut next_pc = pc.wrapping_add(4);
        let mut halted = None;
        macro_rules! write {
            ($value:expr) => {
                third = self.write_register(rd, $value)
            };
        }
        macro_rules! branch {
            ($condition:expr) => {
                if $condition {
                    next_pc = aligned_target(pc.wrapping_add(immediate))?;
                }
            };
        }
        macro_rules! load {
            ($bytes:literal, |$word:ident, $shift:ident| $value:expr) => {{
                let address = a.wrapping_add(immediate);
                let $shift = check_alignment(address, $bytes)?;
                let $word = if RECORDS {
                    second = self.memory.access(address, self.clock() + SLOT_SECOND, |word| word)?;
                    second.after
                } else {
                    self.memory.read(address)?
                };
                write!($value)
            }};
        }
        macro_rules! store {
            ($bytes:literal, |$word:ident, $shift:ident| $value:expr) => {{
                let address = a.wrapping_add(immediate);
                let $shift = check_alignment(address, $bytes)?;
                if RECORDS {
                    third = self.memory.access(address, self.clock() + SLOT_THIRD, |$word| $value)?;
                } else {
                    let place = self.memory.word_mut(address)?;
                    let $word = *place;
                    *place = $value;
                }
            }};
        }

        match op {
            Op::Lui => write!(immediate),
            Op::Auipc => write!(pc.wrapping_add(immediate)),
            Op::Jal => {
                let target = aligned_target(pc.wrapping_add(immediate))?;
                write!(next_pc);
                next_pc = target;
            }
            Op::Jalr => {
                let target = aligned_target(a.wrapping_add(immediate) & !1)?;
                write!(next_pc);
                next_pc = target;
            }
            Op::Beq => branch!(a == b),
            Op::Bne => branch!(a != b),
            Op::Blt => branch!((a as i32) < b as i32),
            Op::Bge => branch!(a as i32 >= b as i32),
            Op::Bltu => branch!(a < b),
            Op::Bgeu => branch!(a >= b),
            Op::Lb => load!(1, |word, shift| (word >> shift) as i8 as u32),
            Op::Lh => load!(2, |word, shift| (word >> shift) as i16 as u32),
            Op::Lw => load!(4, |word, _shift| word),
            Op::Lbu => load!(1, |word, shift| (word >> shift) & 0xff),
            Op::Lhu => load!(2, |word, shift| (word >> shift) & 0xffff),
            Op::Sb => store!(1, |word, shift| word & !(0xff << shift) | (b & 0xff) << shift),
            Op::Sh => store!(2, |word, shift| word & !(0xffff << shift) | (b & 0xffff) << shift),
            Op::Sw => store!(4, |_word, _shift| b),
            Op::Addi => write!(a.wrapping_add(immediate)),
            Op::Slti => write!(u32::from((a as i32) < immediate as i32)),
            Op::Sltiu => write!(u32::from(a < immediate)),
            Op::Xori => write!(a ^ immediate),
            Op::Ori => write!(a | immediate),
            Op::Andi => write!(a & immediate),
            Op::Slli => write!(a.wrapping_shl(immediate)),
            Op::Srli => write!(a.wrapping_shr(immediate)),
            Op::Srai => write!((a as i32).wrapping_shr(immediate) as u32),
            Op::Add => write!(a.wrapping_add(b)),
            Op::Sub => write!(a.wrapping_sub(b)),
            Op::Sll => write!(a.wrapping_shl(b)),
            Op::Slt => write!(u32::from((a as i32) < b as i32)),
            Op::Sltu => write!(u32::from(a < b)),
            Op::Xor => write!(a ^ b),
            Op::Srl => write!(a.wrapping_shr(b)),
            Op::Sra => write!((a as i32).wrapping_shr(b) as u32),
            Op::Or => write!(a | b),
            Op::And => write!(a & b),
            Op::Mul => write!(a.wrapping_mul(b)),
            Op::Mulh => write!(((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32),
            Op::Mulhsu => write!(((i64::from(a as i32) * i64::from(b)) >> 32) as u32),
            Op::Mulhu => write!(((u64::from(a) * u64::from(b)) >> 32) as u32),
            // Division by zero gives all ones and the dividend; −2^31 / −1 wraps. Both as the manual has it.
            Op::Div => write!(if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }),
            Op::Divu => write!(a.checked_div(b).unwrap_or(u32::MAX)),
            Op::Rem => write!(if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }),
            Op::Remu => write!(a.checked_rem(b).unwrap_or(a)),
            Op::Fence => {}
            Op::Ecall => halted = self.environment_call(a, b)?,
            Op::Illegal => {
                return Err(Reason::IllegalInstruction { word: self.image.word(pc).unwrap_or_default() });
            }
        }

        if RECORDS {
            self.observer.cycle(Cycle { pc, next_pc, instruction, first, second, third });
        }
        if O::FOLLOWS {
            self.observer.step(pc, instruction, next_pc);
        }
        Ok(halted.map_or(Flow::Next(next_pc), Flow::Halt))
    }

    #[inline(always)]
    fn read_register(&mut self, register: u8, slot: u32) -> Access {
        let value = self.registers[usize::from(register % 32)];
        if !RECORDS {
            return Access { after: value, ..Access::NONE };
        }
        self.stamp_register(register, slot, value, value)
    }

    #[inline(always)]
    fn write_register(&mut self, register: u8, value: u32) -> Access {
        let register_index = usize::from(register % 32);
        let before = self.registers[register_index];
        self.registers[register_index] = value;
        self.registers[0] = 0;
        if !RECORDS {
            return Access::NONE;
        }
        self.stamp_register(register, SLOT_THIRD, before, value)
    }

    #[inline(always)]
    fn stamp_register(&mut self, register: u8, slot: u32, before: u32, after: u32) -> Access {
        if register == 0 {
            return Access::NONE;
        }
        let timestamp = self.clock() + slot;
        let previous_timestamp =
            core::mem::replace(&mut self.register_timestamps[usize::from(register % 32)], timestamp);
        Access { address: register.into(), before, after, previous_timestamp }
    }

    /// Makes environment call `number` with first argument `argument`. Returns the exit code if the call halts.
    #[inline(never)]
    fn environment_call(&mut self, number: u32, argument: u32) -> Result<Option<u32>, Reason> {
        let clock = self.clock();
        let event = match number {
            CALL_HALT => return Ok(Some(argument)),
            CALL_COMMIT => Event::Commit(self.commit(clock, argument)?),
            CALL_KECCAK_F => Event::Keccak(self.keccak_f(clock, argument)?),
            CALL_POSEIDON2_HASH => Event::Hash(self.poseidon2_hash(clock, argument)?),
            CALL_TREE_UPDATE => Event::Tree(self.tree_update(clock, argument)?),
            CALL_ECRECOVER => Event::Recover(self.ecrecover(clock, argument)?),
            _ => return Err(Reason::UnknownCall { number }),
        };
        self.observer.event(event);
        Ok(None)
    }

    fn commit(&mut self, clock: u32, address: u32) -> Result<CommitEvent, Reason> {
        if self.committed.is_some() {
            return Err(Reason::CommittedTwice);
        }
        let words = self.read_words::<COMMIT_WORDS>(clock, address)?;
        let values = words.map(|access| access.after);
        let chain_id = u64::from(values[0]) | u64::from(values[1]) << 32;
        if chain_id >= CHAIN_ID_END {
            return Err(Reason::ChainIdTooLarge { chain_id });
        }
        self.committed = Some(values);
        Ok(CommitEvent { clock, address, words: Box::new(words) })
    }

    fn keccak_f(&mut self, clock: u32, address: u32) -> Result<KeccakEvent, Reason> {
        let mut state = self.peek_words::<KECCAK_WORDS>(address)?;
        let mut lanes: [u64; 25] =
            core::array::from_fn(|i| u64::from(state[2 * i]) | u64::from(state[2 * i + 1]) << 32);
        tiny_keccak::keccakf(&mut lanes);
        for (words, lane) in state.chunks_exact_mut(2).zip(lanes) {
            words[0] = lane as u32;
            words[1] = (lane >> 32) as u32;
        }
        self.counts.keccak_f += 1;
        Ok(KeccakEvent { clock, address, state: Box::new(self.write_words(clock + SLOT_PRECOMPILE, address, state)?) })
    }

    fn poseidon2_hash(&mut self, clock: u32, input_address: u32) -> Result<HashEvent, Reason> {
        let arguments: [Access; 3] =
            core::array::from_fn(|i| self.read_register(CALL_ARGUMENT_REGISTER + 1 + i as u8, SLOT_PRECOMPILE));
        let [words, output_address, tag] = arguments.map(|access| access.after);
        if words > HASH_WORDS_MAX {
            return Err(Reason::HashTooLong { words, limit: HASH_WORDS_MAX });
        }
        self.memory.check_range(input_address, words)?;
        self.memory.check_range(output_address, DIGEST_WORDS as u32)?;
        let mut input = Vec::with_capacity(words as usize);
        let mut values = Vec::with_capacity(words as usize);
        for index in 0..words {
            // In range: checked above.
            let access =
                self.memory.access(input_address.wrapping_add(4 * index), clock + SLOT_PRECOMPILE, |word| word)?;
            values.push(access.after);
            input.push(access);
        }
        let digest = poseidon2::hash_words(tag, &values);
        let output = self.write_words(clock + SLOT_PRECOMPILE_OUTPUT, output_address, poseidon2::to_words(&digest))?;
        self.counts.poseidon2_hash += 1;
        self.counts.poseidon2_permutations += poseidon2::permutations(values.len()) as u64;
        Ok(HashEvent { clock, input_address, output_address, tag, arguments, input, output })
    }

    fn tree_update(&mut self, clock: u32, address: u32) -> Result<TreeEvent, Reason> {
        let mut words = self.peek_words::<TREE_UPDATE_WORDS>(address)?;
        let digest_at =
            |from: usize| poseidon2::from_words(&core::array::from_fn::<_, DIGEST_WORDS, _>(|i| words[from + i]));
        let (old_leaf, new_leaf, old_root) = (digest_at(0), digest_at(8), digest_at(16));
        let (position, reserved) = (words[24], words[25]);
        if reserved != 0 {
            return Err(Reason::ReservedWord { got: reserved });
        }
        let index = self.counts.tree_update as usize;
        let siblings =
            self.witness.siblings.get(index).ok_or(Reason::NoSiblings { available: self.witness.siblings.len() })?;
        let is_canonical = |sibling: &[u64; 4]| sibling.iter().all(|&element| poseidon2::is_canonical(element));
        if let Some(level) = siblings.iter().position(|sibling| !is_canonical(sibling)) {
            return Err(Reason::SiblingNotCanonical { index, level });
        }
        if poseidon2::root(old_leaf, position, siblings) != old_root {
            return Err(Reason::WrongSiblings { index, position });
        }
        let new_root = poseidon2::root(new_leaf, position, siblings);
        words[16..24].copy_from_slice(&poseidon2::to_words(&new_root));
        self.counts.tree_update += 1;
        Ok(TreeEvent {
            clock,
            address,
            words: Box::new(self.write_words(clock + SLOT_PRECOMPILE, address, words)?),
            siblings: Box::new(*siblings),
        })
    }

    fn ecrecover(&mut self, clock: u32, address: u32) -> Result<RecoverEvent, Reason> {
        let mut words = self.peek_words::<ECRECOVER_WORDS>(address)?;
        let input = core::array::from_fn::<_, { recover::INPUT_WORDS }, _>(|i| words[i]);
        words[recover::INPUT_WORDS..].copy_from_slice(&recover(&input)?);
        self.counts.ecrecover += 1;
        Ok(RecoverEvent { clock, address, words: Box::new(self.write_words(clock + SLOT_PRECOMPILE, address, words)?) })
    }

    /// The words at `address`, without an access: for a precompile that will write them in place.
    fn peek_words<const N: usize>(&mut self, address: u32) -> Result<[u32; N], Reason> {
        self.memory.check_range(address, N as u32)?;
        let mut words = [0; N];
        for (word, address) in words.iter_mut().zip((address..).step_by(4)) {
            *word = self.memory.read(address)?;
        }
        Ok(words)
    }

    /// Reads `N` words at `address` in the slot of precompiles.
    fn read_words<const N: usize>(&mut self, clock: u32, address: u32) -> Result<[Access; N], Reason> {
        let words = self.peek_words::<N>(address)?;
        self.write_words(clock + SLOT_PRECOMPILE, address, words)
    }

    /// Leaves `words` at `address`. A word that stays what it was makes its access a read.
    fn write_words<const N: usize>(
        &mut self,
        timestamp: u32,
        address: u32,
        words: [u32; N],
    ) -> Result<[Access; N], Reason> {
        let mut accesses = [Access::NONE; N];
        for ((access, address), word) in accesses.iter_mut().zip((address..).step_by(4)).zip(words) {
            *access = self.memory.access(address, timestamp, |_| word)?;
        }
        Ok(accesses)
    }

    /// Cycles so far.
    pub(crate) fn cycles(&self) -> u32 {
        self.cycles
    }

    /// Pages of memory in use.
    pub(crate) fn pages(&self) -> u32 {
        self.memory.pages()
    }

    /// The words of memory and the registers that the run touched, for the records.
    pub(crate) fn touched(&self) -> (Vec<MemoryWord>, [RegisterWord; 32]) {
        let registers = core::array::from_fn(|i| RegisterWord {
            final_value: self.registers[i],
            final_timestamp: self.register_timestamps[i],
        });
        (self.memory.touched(), registers)
    }
}

#[inline(always)]
fn aligned_target(target: u32) -> Result<u32, Reason> {
    if target.is_multiple_of(4) { Ok(target) } else { Err(Reason::MisalignedJump { target }) }
}

/// Checks an access of `bytes` bytes, and returns how far its value is shifted in its word.
#[inline(always)]
fn check_alignment(address: u32, bytes: u32) -> Result<u32, Reason> {
    if !address.is_multiple_of(bytes) {
        return Err(Reason::MisalignedAccess { address, alignment: bytes });
    }
    Ok(8 * (address % 4))
}
