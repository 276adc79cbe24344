//! The work that the demo's worker is paid for: a real model on real input, small enough for any machine.
//!
//! The model tells in what language a text is written. It was learned from files of this repository by an averaged perceptron, in integers alone, so
//! that everyone who builds Joule learns the same weights; running it is one int8 matrix product, `windows × features` by `features × languages`. That is the shape of work
//! that attestation tier 1 will prove, and all of it can be repeated by whoever doubts the receipt: same input, same model, same output hash.

use joule_protocol::{Hash, Hashing, Native};

/// Hashed features of a window: how often each group of byte trigrams occurs.
pub(crate) const FEATURES: usize = 1_024;

/// Bytes of text in a window.
pub(crate) const WINDOW_BYTES: usize = 256;

/// Most bytes of input that a run takes.
pub(crate) const INPUT_BYTES_MAX: usize = 1 << 20;

const EPOCHS: usize = 12;

/// What a text can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Rust.
    Rust,
    /// Solidity.
    Solidity,
    /// English prose, in Markdown.
    English,
}

impl Language {
    /// All of them, in the order of the model's rows.
    pub(crate) const ALL: [Self; 3] = [Self::Rust, Self::Solidity, Self::English];
}

/// What the model learns from.
const LESSONS: [(Language, &[&str]); 3] = [
    (
        Language::Rust,
        &[
            include_str!("../../../circuits/kernel/src/jobs.rs"),
            include_str!("../../../circuits/kernel/src/devices.rs"),
            include_str!("../../../circuits/kernel/src/bridge.rs"),
            include_str!("../../../circuits/kernel/src/priority.rs"),
            include_str!("../../../circuits/protocol/src/envelope.rs"),
            include_str!("../../../node/state/src/tree.rs"),
        ],
    ),
    (
        Language::Solidity,
        &[
            include_str!("../../../contracts/src/Rollup.sol"),
            include_str!("../../../contracts/src/Escape.sol"),
            include_str!("../../../contracts/src/Bridge.sol"),
        ],
    ),
    (
        Language::English,
        &[
            include_str!("../../../circuits/book/src/objects.md"),
            include_str!("../../../circuits/book/src/encodings.md"),
            include_str!("../../../circuits/book/src/transactions.md"),
        ],
    ),
];

/// An int8 linear classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// One row of [`FEATURES`] weights for each language.
    weights: Vec<i8>,
}

/// What a run of the model gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inference {
    /// The product, one row of scores for each window of the input.
    pub(crate) scores: Vec<[i32; Language::ALL.len()]>,
    /// The language with the highest sum of scores.
    pub(crate) language: Language,
    /// Multiply-accumulates: what the run is metered by.
    pub(crate) units: u64,
}

impl Inference {
    /// The bytes that a receipt's output hash is over: the scores, big-endian, row by row, and the language's index.
    pub(crate) fn output(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.scores.iter().flatten().flat_map(|score| score.to_be_bytes()).collect();
        bytes.push(self.language as u8);
        bytes
    }

    /// Hash of the output.
    pub(crate) fn output_hash(&self) -> Hash {
        Native::keccak256(&self.output())
    }
}

impl Model {
    /// Learns the model. The same sources give the same weights on every machine.
    pub(crate) fn learn() -> Self {
        let samples: Vec<(usize, [i8; FEATURES])> = LESSONS
            .iter()
            .flat_map(|(language, texts)| {
                texts
                    .iter()
                    .flat_map(|text| windows(text.as_bytes()))
                    .map(|window| (*language as usize, features(window)))
            })
            .collect();
        let languages = Language::ALL.len();
        let mut weights = vec![0_i32; languages * FEATURES];
        let mut sums = vec![0_i64; languages * FEATURES];
        for _ in 0..EPOCHS {
            // A stride coprime to the number of samples mixes the languages, and needs no randomness.
            let stride = (samples.len() * 5 / 8..).find(|stride| gcd(*stride, samples.len()) == 1).unwrap_or(1);
            for step in 0..samples.len() {
                let (language, window) = &samples[step * stride % samples.len()];
                let guess = best(&product(&weights, window));
                if guess != *language {
                    for (feature, value) in window.iter().enumerate() {
                        weights[language * FEATURES + feature] += i32::from(*value);
                        weights[guess * FEATURES + feature] -= i32::from(*value);
                    }
                }
                sums.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum += i64::from(*weight));
            }
        }
        let largest = sums.iter().map(|sum| sum.abs()).max().unwrap_or(0).max(1);
        Self { weights: sums.iter().map(|sum| (sum * 127 / largest) as i8).collect() }
    }

    /// The commitment that jobs name: architecture and weights.
    pub(crate) fn commitment(&self) -> Hash {
        let mut bytes = b"joule.model.linear.int8.v1".to_vec();
        for size in [Language::ALL.len(), FEATURES, WINDOW_BYTES] {
            bytes.extend_from_slice(&(size as u64).to_be_bytes());
        }
        bytes.extend(self.weights.iter().map(|weight| *weight as u8));
        Native::keccak256(&bytes)
    }

    /// Units that a run on `input` takes; known beforehand, so that a client can bound the price.
    pub(crate) fn units(input: &[u8]) -> u64 {
        (windows(input).count() * FEATURES * Language::ALL.len()) as u64
    }

    /// Runs the model. `None` for input that is empty or larger than [`INPUT_BYTES_MAX`].
    pub(crate) fn run(&self, input: &[u8]) -> Option<Inference> {
        if input.is_empty() || input.len() > INPUT_BYTES_MAX {
            return None;
        }
        let weights: Vec<i32> = self.weights.iter().map(|weight| i32::from(*weight)).collect();
        let scores: Vec<_> = windows(input).map(|window| product(&weights, &features(window))).collect();
        let mut totals = [0_i64; Language::ALL.len()];
        for row in &scores {
            totals.iter_mut().zip(row).for_each(|(total, score)| *total += i64::from(*score));
        }
        let best = (0..totals.len()).max_by_key(|index| (totals[*index], std::cmp::Reverse(*index)))?;
        Some(Inference { scores, language: Language::ALL[best], units: Self::units(input) })
    }
}

fn windows(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunks(WINDOW_BYTES)
}

/// Counts of hashed trigrams. A window has at most 254 of them; a count that would pass 127 stays there.
fn features(window: &[u8]) -> [i8; FEATURES] {
    let mut counts = [0_i8; FEATURES];
    for trigram in window.windows(3) {
        let word = trigram.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        // Fibonacci hashing: the high bits of a product with 2^32 over the golden ratio.
        let feature = (word.wrapping_mul(0x9e37_79b9) >> 22) as usize;
        counts[feature] = counts[feature].saturating_add(1);
    }
    counts
}

/// One row of the product. The counts of a window add up to 254 at most, so a row of int8 weights gives at most 127 × 254; weights that are still being learned
/// stay below samples × epochs × 127, some 2^20, which an i32 also carries.
fn product(weights: &[i32], window: &[i8; FEATURES]) -> [i32; Language::ALL.len()] {
    let mut row = [0_i32; Language::ALL.len()];
    for (score, weights) in row.iter_mut().zip(weights.chunks_exact(FEATURES)) {
        *score = weights.iter().zip(window).map(|(weight, value)| weight * i32::from(*value)).sum();
    }
    row
}

fn best(row: &[i32]) -> usize {
    (0..row.len()).max_by_key(|index| (row[*index], std::cmp::Reverse(*index))).unwrap_or(0)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_texts_it_has_not_seen() {
        let model = Model::learn();
        let unseen = [
            (Language::Rust, include_str!("../../../circuits/kernel/src/channels.rs")),
            (Language::Solidity, include_str!("../../../contracts/src/DataCommittee.sol")),
            (Language::English, include_str!("../../../circuits/book/src/statement.md")),
        ];
        for (language, text) in unseen {
            assert_eq!(model.run(text.as_bytes()).expect("a text").language, language);
            // Comments are English in the middle of code: windows are judged without them.
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let inference = model.run(code.join("\n").as_bytes()).expect("a text");
            let right = inference.scores.iter().filter(|row| best(row.as_slice()) == language as usize).count();
            assert!(right * 3 >= inference.scores.len() * 2, "{language:?}: {right} of {}", inference.scores.len());
        }
    }

    #[test]
    fn the_same_input_gives_the_same_output_and_another_gives_another() {
        let (model, again) = (Model::learn(), Model::learn());
        assert_eq!(model.commitment(), again.commitment());
        let run = |text: &[u8]| model.run(text).map(|inference| (inference.output_hash(), inference.units));
        assert_eq!(run(b"fn main() {}"), again.run(b"fn main() {}").map(|run| (run.output_hash(), run.units)));
        assert_ne!(run(b"fn main() {}"), run(b"fn main() { }"));
        assert_eq!(run(b"fn main() {}").map(|(_, units)| units), Some(Model::units(b"fn main() {}")));
    }

    #[test]
    fn input_out_of_bounds_is_refused() {
        let model = Model { weights: vec![0; FEATURES * Language::ALL.len()] };
        assert_eq!(model.run(&[]), None);
        assert_eq!(model.run(&vec![b' '; INPUT_BYTES_MAX + 1]), None);
    }
}
