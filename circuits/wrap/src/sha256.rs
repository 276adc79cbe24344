//! SHA-256 (FIPS 180-4) over bits.
//!
//! **Claim.** If every message bit is boolean, so is every digest bit, and the digest is SHA-256 of the message.
//! **Why.** Each word is a list of booleans. A sum of words is decomposed into as many booleans as its largest value needs and its low 32 are
//! kept. Exclusive or of three bits and their majority come from one pair of booleans with `a + b + c = x + 2m`: each of the
//! eight cases fixes both. Constants fold away, which is what makes the padding of the second block cheap.

use ark_bn254::Fr;
use ark_ff::{One, PrimeField, Zero};

use crate::circuit::{Circuit, Linear, Synthesis, from_bits};

const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes, by integer arithmetic.
fn round_constants() -> [u32; 64] {
    let mut primes = (2u128..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    std::array::from_fn(|_| {
        let prime = primes.next().expect("there are infinitely many primes");
        // floor(2^32·∛prime): the largest root with root³ ≤ prime·2^96, bit by bit.
        let mut root = 0u128;
        for bit in (0..36).rev() {
            let candidate = root | 1 << bit;
            if candidate * candidate * candidate <= prime << 96 {
                root = candidate;
            }
        }
        root as u32
    })
}

/// 32 booleans, least significant first.
type Word = Vec<Linear>;

fn constant_word(value: u32) -> Word {
    (0..32).map(|bit| Linear::constant(Fr::from(value >> bit & 1))).collect()
}

fn rotate(word: &Word, by: usize) -> Word {
    (0..32).map(|bit| word[(bit + by) % 32].clone()).collect()
}

fn shift(word: &Word, by: usize) -> Word {
    (0..32).map(|bit| word.get(bit + by).cloned().unwrap_or_default()).collect()
}

/// `a ⊕ b = a + b − 2ab`.
fn xor(circuit: &mut Circuit, a: &Linear, b: &Linear) -> Synthesis<Linear> {
    let product = circuit.multiply(a, b)?;
    Ok(Linear::sum([(Fr::one(), a), (Fr::one(), b), (-Fr::from(2u8), &product)]))
}

/// Exclusive or and majority of three bits.
fn full_adder(circuit: &mut Circuit, bits: [&Linear; 3]) -> Synthesis<(Linear, Linear)> {
    if let Some(known) = bits.iter().position(|bit| bit.as_constant().is_some()) {
        let others: Vec<_> = (0..3).filter(|index| *index != known).map(|index| bits[index]).collect();
        let product = circuit.multiply(others[0], others[1])?;
        let sum = others[0].add(others[1]);
        let exclusive = sum.sub(&product.scale(Fr::from(2u8)));
        let inclusive = sum.sub(&product);
        return Ok(if bits[known].value().is_zero() { (exclusive, product) } else { (exclusive.not(), inclusive) });
    }
    let sum = bits[0].add(bits[1]).add(bits[2]);
    let exclusive = circuit.boolean(bits.iter().filter(|bit| !bit.value().is_zero()).count() % 2 == 1)?;
    // The majority needs no variable: it is half of what is left, and boolean.
    let half = Fr::from(2u8);
    let half = ark_ff::Field::inverse(&half).expect("two is not zero");
    let majority = sum.sub(&exclusive).scale(half);
    circuit.enforce(&majority, &majority.add_constant(-Fr::one()), &Linear::default())?;
    Ok((exclusive, majority))
}

fn xor_words(circuit: &mut Circuit, words: [&Word; 3]) -> Synthesis<Word> {
    (0..32).map(|bit| Ok(full_adder(circuit, [&words[0][bit], &words[1][bit], &words[2][bit]])?.0)).collect()
}

fn xor_two_words_and_short(circuit: &mut Circuit, full: [&Word; 2], short: &Word) -> Synthesis<Word> {
    (0..32)
        .map(|bit| {
            if short[bit].as_constant().is_some_and(|constant| constant.is_zero()) {
                xor(circuit, &full[0][bit], &full[1][bit])
            } else {
                Ok(full_adder(circuit, [&full[0][bit], &full[1][bit], &short[bit]])?.0)
            }
        })
        .collect()
}

/// The sum modulo 2³² of numbers below 2³², `count` of them with the constants.
fn add_modulo(circuit: &mut Circuit, numbers: &[&Linear], constant: u32) -> Synthesis<Word> {
    let sum = Linear::sum(numbers.iter().map(|number| (Fr::one(), *number))).add_constant(Fr::from(constant));
    if let Some(known) = sum.as_constant() {
        return Ok(constant_word(known.into_bigint().0[0] as u32));
    }
    let count = numbers.len() as u64 + 1;
    let bits = 32 + (u64::BITS - (count - 1).leading_zeros()) as usize;
    let mut word = circuit.decompose_to_variables(&sum, bits)?;
    word.truncate(32);
    Ok(word)
}

fn compress(circuit: &mut Circuit, state: [Word; 8], block: &[Word]) -> Synthesis<[Word; 8]> {
    let constants = round_constants();
    let mut schedule = block.to_vec();
    for index in 16..64 {
        let early = &schedule[index - 15];
        let late = &schedule[index - 2];
        let (early_7, early_18, early_3) = (rotate(early, 7), rotate(early, 18), shift(early, 3));
        let (late_17, late_19, late_10) = (rotate(late, 17), rotate(late, 19), shift(late, 10));
        let sigma_0 = xor_two_words_and_short(circuit, [&early_7, &early_18], &early_3)?;
        let sigma_1 = xor_two_words_and_short(circuit, [&late_17, &late_19], &late_10)?;
        let numbers = [&schedule[index - 16], &sigma_0, &schedule[index - 7], &sigma_1].map(|word| from_bits(word));
        let word = add_modulo(circuit, &numbers.each_ref(), 0)?;
        schedule.push(word);
    }

    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state.clone();
    for (word, constant) in schedule.iter().zip(constants) {
        let sum_1 = xor_words(circuit, [&rotate(&e, 6), &rotate(&e, 11), &rotate(&e, 25)])?;
        let choice = (0..32).map(|bit| circuit.select(&e[bit], &f[bit], &g[bit])).collect::<Synthesis<Vec<_>>>()?;
        let sum_0 = xor_words(circuit, [&rotate(&a, 2), &rotate(&a, 13), &rotate(&a, 22)])?;
        let majority = (0..32)
            .map(|bit| Ok(full_adder(circuit, [&a[bit], &b[bit], &c[bit]])?.1))
            .collect::<Synthesis<Vec<_>>>()?;
        let first = [&h, &sum_1, &choice, word].map(|word| from_bits(word));
        let [h_number, sum_1_number, choice_number, word_number] = first.each_ref();
        let (d_number, sum_0_number, majority_number) = (from_bits(&d), from_bits(&sum_0), from_bits(&majority));
        let new_e = add_modulo(circuit, &[h_number, sum_1_number, choice_number, word_number, &d_number], constant)?;
        let new_a = add_modulo(
            circuit,
            &[h_number, sum_1_number, choice_number, word_number, &sum_0_number, &majority_number],
            constant,
        )?;
        (h, g, f, e, d, c, b, a) = (g, f, e, new_e, c, b, a, new_a);
    }
    let worked = [a, b, c, d, e, f, g, h];
    let mut result = Vec::with_capacity(8);
    for (before, after) in state.iter().zip(&worked) {
        result.push(add_modulo(circuit, &[&from_bits(before), &from_bits(after)], 0)?);
    }
    Ok(result.try_into().expect("eight words"))
}

/// The digest of a message of whole bytes, as 256 bits, most significant first.
pub(crate) fn sha256(circuit: &mut Circuit, message: &[Linear]) -> Synthesis<Vec<Linear>> {
    assert!(message.len().is_multiple_of(8));
    let mut bits = message.to_vec();
    bits.push(Linear::one());
    while bits.len() % 512 != 448 {
        bits.push(Linear::default());
    }
    let length = message.len() as u64;
    bits.extend((0..64).rev().map(|bit| Linear::constant(Fr::from(length >> bit & 1))));
    let words: Vec<Word> = bits.chunks(32).map(|word| word.iter().rev().cloned().collect()).collect();
    let mut state = INITIAL.map(constant_word);
    for block in words.chunks(16) {
        state = compress(circuit, state, block)?;
    }
    Ok(state.iter().flat_map(|word| word.iter().rev().cloned()).collect())
}

/// Bits of bytes, most significant first.
#[cfg(test)]
fn bits_of(circuit: &mut Circuit, bytes: &[u8]) -> Vec<Linear> {
    let mut bits = Vec::new();
    for byte in bytes {
        for bit in (0..8).rev() {
            bits.push(circuit.boolean(byte >> bit & 1 == 1).expect("synthesis"));
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_relations::gr1cs::ConstraintSystem;
    use sha2::{Digest, Sha256};

    #[test]
    fn digests_equal_sha2() {
        for length in [0usize, 3, 55, 56, 104] {
            let message: Vec<u8> = (0..length as u8).map(|byte| byte.wrapping_mul(37) ^ 0x5a).collect();
            let system = ConstraintSystem::new_ref();
            let mut circuit = Circuit::new(system.clone());
            let bits = bits_of(&mut circuit, &message);
            let digest = sha256(&mut circuit, &bits).expect("synthesis");
            let bytes: Vec<u8> = digest
                .chunks(8)
                .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit.value().into_bigint().0[0] as u8))
                .collect();
            assert_eq!(bytes, Sha256::digest(&message).to_vec(), "a message of {length} bytes");
            assert!(system.is_satisfied().expect("a witness exists"));
        }
    }

    #[test]
    fn the_first_and_last_round_constants_are_the_standards() {
        let constants = round_constants();
        assert_eq!((constants[0], constants[1], constants[63]), (0x428a2f98, 0x71374491, 0xc67178f2));
    }
}
