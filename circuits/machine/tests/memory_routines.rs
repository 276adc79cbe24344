//! `memcpy`, `memmove`, `memset`, `memcmp` and `add_words` of the kernel's image, which are written in assembly, against the standard library.

mod common;

use common::{call, load_immediate};
use joule_machine::{
    Image, Instruction, Limits, Op, Witness, kernel_image,
    layout::{CALL_HALT, INPUT_START},
    record,
};
use proptest::prelude::*;

/// Bytes of memory that the routines play in: longer than the longest copies that are not made in a loop.
const ARENA: usize = 1024;

/// The routines' code, which does not depend on where it is, and where in it `name` starts.
fn routines(name: &str) -> (&'static [u32], usize) {
    let image = kernel_image();
    let address = |name: &str| {
        let symbol = image.symbols().iter().find(|symbol| symbol.name == name);
        symbol.unwrap_or_else(|| panic!("the image has no {name}"))
    };
    let word = |address: u32| ((address - image.memory_start()) / 4) as usize;
    let (first, last) = (address("memcpy"), address("memcmp"));
    let code = &image.memory()[word(first.address)..word(last.address + last.bytes)];
    (code, word(address(name).address) - word(first.address))
}

/// Calls a routine on an arena; returns what it returns, and the arena afterwards.
fn calls(name: &str, arguments: [u32; 3], arena: &[u8]) -> (u32, Vec<u8>) {
    let (code, start) = routines(name);
    let mut words = Vec::new();
    for (register, argument) in (10..).zip(arguments) {
        words.extend(load_immediate(register, argument));
    }
    let halt = call(CALL_HALT, &[0]);
    let distance = 4 * (2 + halt.len() + start);
    words.push(Instruction { op: Op::Jal, rd: 1, rs1: 0, rs2: 0, immediate: distance as u32 }.encode());
    words.push(Instruction { op: Op::Addi, rd: 8, rs1: 10, rs2: 0, immediate: 0 }.encode());
    words.extend(halt);
    words.extend(code);
    let image = Image::from_instructions(&words).unwrap();
    let input: Vec<_> = arena.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let witness = Witness { input, siblings: Vec::new() };
    let (_, records) = record(&image, &witness, Limits { cycles: 20_000, pages: 4 }).unwrap();
    let mut after = arena.to_vec();
    for word in &records.memory {
        let offset = (word.address - INPUT_START) as usize;
        after[offset..offset + 4].copy_from_slice(&word.final_value.to_le_bytes());
    }
    (records.registers[8].final_value, after)
}

fn address(offset: usize) -> u32 {
    INPUT_START + offset as u32
}

/// Short, around the sizes at which the routines change their way, and long.
fn a_length() -> impl Strategy<Value = usize> {
    prop_oneof![0..48_usize, 120..140_usize, 250..270_usize, 0..400_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn add_words_adds(
        arena in prop::collection::vec(any::<u8>(), ARENA),
        (to, from) in (1..25_usize, 128..150_usize),
        count in 0..=34_usize,
        swapped: bool,
    ) {
        let (to, from) = if swapped { (4 * from, 4 * to) } else { (4 * to, 4 * from) };
        let (_, after) = calls("add_words", [address(to), address(from), count as u32], &arena);
        let mut expected = arena;
        for offset in 0..4 * count {
            expected[to + offset] ^= expected[from + offset];
        }
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn memcpy_copies(
        arena in prop::collection::vec(any::<u8>(), ARENA),
        (to, from) in (4..100_usize, 510..600_usize),
        length in a_length(),
        swapped: bool,
    ) {
        let (to, from) = if swapped { (from, to) } else { (to, from) };
        let (result, after) = calls("memcpy", [address(to), address(from), length as u32], &arena);
        let mut expected = arena;
        expected.copy_within(from..from + length, to);
        prop_assert_eq!(result, address(to));
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn memmove_copies_over_itself(
        arena in prop::collection::vec(any::<u8>(), ARENA),
        (to, distance) in (100..200_usize, -99..100_isize),
        length in a_length(),
        aligned: bool,
    ) {
        let mask = if aligned { !3 } else { !0 };
        let (to, from) = (to & mask, to.wrapping_add_signed(distance) & mask);
        let (result, after) = calls("memmove", [address(to), address(from), length as u32], &arena);
        let mut expected = arena;
        expected.copy_within(from..from + length, to);
        prop_assert_eq!(result, address(to));
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn memset_fills(
        arena in prop::collection::vec(any::<u8>(), ARENA),
        to in 4..100_usize,
        byte: u8,
        length in prop_oneof![a_length(), 500..900_usize],
    ) {
        // Only the low byte of the argument counts.
        let argument = u32::from(byte) | 0xabcd_ef00;
        let (result, after) = calls("memset", [address(to), argument, length as u32], &arena);
        let mut expected = arena;
        expected[to..to + length].fill(byte);
        prop_assert_eq!(result, address(to));
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn memcmp_compares(
        mut arena in prop::collection::vec(any::<u8>(), ARENA),
        (left, right) in (4..100_usize, 510..600_usize),
        length in a_length(),
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        arena.copy_within(left..left + length, right);
        if let Some((index, byte)) = change && length > 0 {
            arena[right + index.index(length)] = byte;
        }
        let (result, after) = calls("memcmp", [address(left), address(right), length as u32], &arena);
        let expected = arena[left..left + length].cmp(&arena[right..right + length]);
        prop_assert_eq!((result as i32).cmp(&0), expected);
        prop_assert_eq!(after, arena);
    }
}
