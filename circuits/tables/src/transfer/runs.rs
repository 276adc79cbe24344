//! Runs that call every precompile, through all tables and a proof.

use joule_machine::{
    Image, Instruction, Limits, Op, Records, Witness as MachineWitness,
    layout::{
        CALL_COMMIT, CALL_ECRECOVER, CALL_HALT, CALL_KECCAK_F, CALL_POSEIDON2_HASH, CALL_TREE_UPDATE, INPUT_START,
        PROGRAM_END,
    },
    poseidon2::{hash_words, to_words},
    record,
};
use joule_protocol::{Hash, PublicValues};

use crate::{
    config::Profile,
    poseidon2::tree,
    program::Program,
    prove::Setup,
    secp256k1::{self, arithmetic::U256},
    shape::Shape,
    witness::Witness,
};

/// Where the program commits from: eighteen words that are zero.
const ZEROS: u32 = PROGRAM_END + 0x1_0000;
/// Where hashes go.
const OUTPUT: u32 = PROGRAM_END;

fn call(number: u32, arguments: &[u32]) -> Vec<u32> {
    let immediate = |op, rd, rs1, immediate: u32| Instruction { op, rd, rs1, rs2: 0, immediate }.encode();
    let mut words = Vec::new();
    for (register, value) in (10..).zip(arguments.iter().copied()).chain([(17, number)]) {
        let low = ((value << 20) as i32 >> 20) as u32;
        words.push(immediate(Op::Lui, register, 0, value.wrapping_sub(low)));
        words.push(immediate(Op::Addi, register, register, low));
    }
    words.push(Instruction { op: Op::Ecall, rd: 0, rs1: 0, rs2: 0, immediate: 0 }.encode());
    words
}

/// A program that makes calls, each with its own words of the private input, and the witness for it.
#[derive(Default)]
struct Calls {
    program: Vec<u32>,
    witness: MachineWitness,
}

impl Calls {
    fn put(&mut self, words: &[u32]) -> u32 {
        let address = INPUT_START + 4 * self.witness.input.len() as u32;
        self.witness.input.extend(words);
        address
    }

    fn in_place(&mut self, number: u32, words: &[u32]) {
        let address = self.put(words);
        self.program.extend(call(number, &[address]));
    }

    fn keccak_f(&mut self, words: &[u32; 50]) {
        self.in_place(CALL_KECCAK_F, words);
    }

    /// Twice the hash of words: elsewhere, and over the words themselves.
    fn hash(&mut self, tag: u32, words: &[u32]) {
        let address = self.put(words);
        for output in [OUTPUT, address] {
            self.program.extend(call(CALL_POSEIDON2_HASH, &[address, words.len() as u32, output, tag]));
        }
        // The digest over the words may reach behind them.
        self.put(&[0; 8]);
    }

    fn tree_update(&mut self, position: u32, seed: u64) {
        let event = tree::tests::event(4_000, 0, position, seed);
        self.witness.siblings.push(*event.siblings);
        self.in_place(CALL_TREE_UPDATE, &event.words.map(|access| access.before));
    }

    fn ecrecover(&mut self, hash: U256, r: U256, s: U256, parity: u32) {
        let event = secp256k1::tests::event(hash, r, s, parity);
        self.in_place(CALL_ECRECOVER, &event.words.map(|access| access.before));
    }

    fn run(mut self) -> (Image, Records) {
        self.program.extend(call(CALL_COMMIT, &[ZEROS]));
        self.program.extend(call(CALL_HALT, &[0]));
        let image = Image::from_instructions(&self.program).unwrap();
        let records = record(&image, &self.witness, Limits::default()).unwrap().1;
        (image, records)
    }
}

/// Every precompile, several times, in one run.
fn everything() -> (Image, Records) {
    let mut calls = Calls::default();
    let mut words = [0; 50];
    calls.keccak_f(&words);
    words.iter_mut().zip(0_u32..).for_each(|(word, index)| *word = (index + 1).wrapping_mul(0x9e37_79b9));
    calls.keccak_f(&words);
    for length in [0, 1, 4, 5, 8, 24] {
        calls.hash(length + 1, &words[..length as usize]);
    }
    calls.tree_update(0x8000_0001, 3);
    calls.tree_update(0, 4);
    let (hash, secret, nonce) = (secp256k1::tests::number(1), secp256k1::tests::number(2), secp256k1::tests::number(3));
    let (r, s, parity) = secp256k1::tests::sign(hash, secret, nonce);
    calls.ecrecover(hash, r, s, parity);
    calls.run()
}

#[test]
fn calls_satisfy_all_tables() {
    let (image, records) = everything();
    assert_eq!(records.recoveries[0].words[25].after, 1);
    let digest =
        to_words(&hash_words(25, &records.hashes[11].input.iter().map(|access| access.before).collect::<Vec<_>>()));
    assert_eq!(records.hashes[11].output.map(|access| access.after), digest);
    let tables = Shape::Tiny.tables(&image).unwrap();
    let witness = Witness::new(Shape::Tiny, &tables, &image, &records).unwrap();
    let faults = witness.check(&tables, 10);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn calls_are_proven_and_verified() {
    let (image, records) = everything();
    let setup = Setup::new(Shape::Tiny, &image).unwrap();
    let program = Program::new(vec![setup.verifying_key()]);
    let statement = PublicValues { program: program.hash(), chain_id: 0, from: Hash([0; 32]), to: Hash([0; 32]) };
    let start = std::time::Instant::now();
    let bytes = setup.prove(Profile::Fast, &records).unwrap().encode();
    println!("proved in {:?}, {} bytes", start.elapsed(), bytes.len());
    program.verify(Profile::Fast, &statement, &bytes).unwrap();
}
