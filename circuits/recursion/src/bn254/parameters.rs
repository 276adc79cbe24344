//! Round constants and matrices of Poseidon over the BN254 scalar field, generated and not copied.
//!
//! The generator is the Grain LFSR of the Poseidon paper (Grassi, Khovratovich, Rechberger, Roy, Schofnegger, USENIX
//! Security 2021, appendix F): its 80-bit state is seeded with nothing but the parameters of the instance, so there is no
//! freedom to hide anything in. Tests compare four widths with published digests, which are sensitive to every constant.

use ark_bn254::Fr;
use ark_ff::{BigInteger, Field, PrimeField, Zero};

/// Bits of the BN254 scalar field's modulus.
const MODULUS_BITS: usize = 254;

/// The Poseidon instance of one width: constants, matrix, and the sparse form that the code computes with.
#[derive(Clone, Debug)]
pub struct Parameters<const WIDTH: usize> {
    /// Full rounds before, and again after, the partial rounds.
    pub full_rounds_half: usize,
    /// Rounds with one S-box.
    pub partial_rounds: usize,
    /// One vector per round, in order, as the paper adds them.
    pub round_constants: Vec<[Fr; WIDTH]>,
    /// The Cauchy matrix, by rows.
    pub matrix: [[Fr; WIDTH]; WIDTH],
    /// The partial rounds, factored so that each costs `2·WIDTH` products instead of `WIDTH²`.
    pub sparse: SparseRounds<WIDTH>,
}

/// The partial rounds in sparse form.
///
/// A partial round is `x ← M·S(x + c)` where `S` touches lane 0 alone. Whatever leaves lane 0 alone commutes with `S`, so
/// (a) the constants of the other lanes move on through `M` into the next round, and (b) `A = A''·A'` with
/// `A' = diag(1, Â)` and `A'' = [[a₀₀, v·Â⁻¹], [w, I]]` lets `A'` move back into the round before. What is left is one
/// scalar constant and one sparse matrix `A''` per round, one dense matrix in front, and constants behind.
#[derive(Clone, Debug)]
pub struct SparseRounds<const WIDTH: usize> {
    /// Applied once before the first partial round; its first row and column are those of the identity.
    pub entry_matrix: [[Fr; WIDTH]; WIDTH],
    /// Constant added to lane 0 in each round.
    pub constants: Vec<Fr>,
    /// First row of each round's sparse matrix.
    pub rows: Vec<[Fr; WIDTH]>,
    /// First column of each round's sparse matrix; entry 0 is unused (the row has it).
    pub columns: Vec<[Fr; WIDTH]>,
    /// What the moved constants add to the first full round behind.
    pub exit_constants: [Fr; WIDTH],
}

impl<const WIDTH: usize> Parameters<WIDTH> {
    /// Generates the instance with 8 full rounds and the given number of partial rounds.
    ///
    /// The round numbers of the instances in use are the paper's for α = 5 and 128 bits of security with its margin
    /// (two more full rounds, 7.5 % more partial rounds), rounded up as the widely deployed instances do.
    pub fn generate(partial_rounds: usize) -> Self {
        let full_rounds = 8;
        let mut grain = Grain::new(WIDTH, full_rounds, partial_rounds);
        let round_constants: Vec<[Fr; WIDTH]> = (0..full_rounds + partial_rounds)
            .map(|_| std::array::from_fn(|_| grain.next_element_below_modulus()))
            .collect();
        let matrix = grain.next_cauchy_matrix::<WIDTH>();
        let sparse = SparseRounds::factor(&matrix, &round_constants[full_rounds / 2..full_rounds / 2 + partial_rounds]);
        Self { full_rounds_half: full_rounds / 2, partial_rounds, round_constants, matrix, sparse }
    }
}

impl<const WIDTH: usize> SparseRounds<WIDTH> {
    fn factor(matrix: &[[Fr; WIDTH]; WIDTH], constants: &[[Fr; WIDTH]]) -> Self {
        let mut scalars = Vec::with_capacity(constants.len());
        let mut carried = [Fr::zero(); WIDTH];
        for round in constants {
            for (carried, constant) in carried.iter_mut().zip(round) {
                *carried += constant;
            }
            scalars.push(carried[0]);
            carried[0] = Fr::zero();
            carried = multiply_vector(matrix, &carried);
        }

        // From the last round to the first: `dense` is the matrix that this round still has to apply.
        let mut dense = *matrix;
        let mut rows = Vec::with_capacity(constants.len());
        let mut columns = Vec::with_capacity(constants.len());
        let mut entry_matrix = identity();
        for _ in constants {
            let block = with_identity_border(&dense);
            let block_inverse = invert(&block);
            // The row vector (a₀₀, v)·diag(1, Â⁻¹).
            rows.push(std::array::from_fn(|column| (0..WIDTH).map(|k| dense[0][k] * block_inverse[k][column]).sum()));
            columns.push(std::array::from_fn(|row| dense[row][0]));
            entry_matrix = block;
            dense = multiply_matrix(&block, matrix);
        }
        rows.reverse();
        columns.reverse();
        Self { entry_matrix, constants: scalars, rows, columns, exit_constants: carried }
    }
}

type Matrix<const WIDTH: usize> = [[Fr; WIDTH]; WIDTH];

fn identity<const WIDTH: usize>() -> Matrix<WIDTH> {
    std::array::from_fn(|row| std::array::from_fn(|column| Fr::from(u64::from(row == column))))
}

fn with_identity_border<const WIDTH: usize>(matrix: &Matrix<WIDTH>) -> Matrix<WIDTH> {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| match (row, column) {
            (0, 0) => Fr::ONE,
            (0, _) | (_, 0) => Fr::zero(),
            _ => matrix[row][column],
        })
    })
}

pub(super) fn multiply_vector<const WIDTH: usize>(matrix: &Matrix<WIDTH>, vector: &[Fr; WIDTH]) -> [Fr; WIDTH] {
    std::array::from_fn(|row| Fr::sum_of_products(&matrix[row], vector))
}

fn multiply_matrix<const WIDTH: usize>(left: &Matrix<WIDTH>, right: &Matrix<WIDTH>) -> Matrix<WIDTH> {
    std::array::from_fn(|row| std::array::from_fn(|column| (0..WIDTH).map(|k| left[row][k] * right[k][column]).sum()))
}

/// Gauss–Jordan. Every square submatrix of a Cauchy matrix is invertible, and so are the blocks that the factoring
/// meets; a singular one would be a broken invariant of this file, not of its caller.
fn invert<const WIDTH: usize>(matrix: &Matrix<WIDTH>) -> Matrix<WIDTH> {
    let mut left = *matrix;
    let mut right = identity::<WIDTH>();
    for pivot in 0..WIDTH {
        let row = (pivot..WIDTH).find(|&row| !left[row][pivot].is_zero()).expect("the matrix is invertible");
        left.swap(pivot, row);
        right.swap(pivot, row);
        let scale = left[pivot][pivot].inverse().expect("the pivot is not zero");
        left[pivot].iter_mut().chain(right[pivot].iter_mut()).for_each(|entry| *entry *= scale);
        for row in (0..WIDTH).filter(|&row| row != pivot) {
            let factor = left[row][pivot];
            for column in 0..WIDTH {
                let (from_left, from_right) = (left[pivot][column], right[pivot][column]);
                left[row][column] -= factor * from_left;
                right[row][column] -= factor * from_right;
            }
        }
    }
    right
}

/// The Grain LFSR in self-shrinking mode.
struct Grain {
    bits: [bool; 80],
    position: usize,
}

impl Grain {
    fn new(width: usize, full_rounds: usize, partial_rounds: usize) -> Self {
        let mut bits = [true; 80];
        let mut cursor = 0;
        // Prime field, S-box x^α, then n, t, R_F, R_P; the remaining 30 bits stay one.
        for (value, length) in
            [(1, 2), (0, 4), (MODULUS_BITS, 12), (width, 12), (full_rounds, 10), (partial_rounds, 10)]
        {
            for bit in (0..length).rev() {
                bits[cursor] = value >> bit & 1 == 1;
                cursor += 1;
            }
        }
        let mut grain = Self { bits, position: 0 };
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let tap = |offset: usize| self.bits[(self.position + offset) % 80];
        let bit = tap(62) ^ tap(51) ^ tap(38) ^ tap(23) ^ tap(13) ^ tap(0);
        self.bits[self.position] = bit;
        self.position = (self.position + 1) % 80;
        bit
    }

    /// Of each pair of bits, the second counts if the first is one.
    fn next_bit(&mut self) -> bool {
        while !self.step() {
            self.step();
        }
        self.step()
    }

    fn next_bits(&mut self) -> <Fr as PrimeField>::BigInt {
        let bits: Vec<bool> = (0..MODULUS_BITS).map(|_| self.next_bit()).collect();
        BigInteger::from_bits_be(&bits)
    }

    fn next_element_below_modulus(&mut self) -> Fr {
        loop {
            if let Some(element) = Fr::from_bigint(self.next_bits()) {
                return element;
            }
        }
    }

    /// `M[i][j] = 1/(x_i + y_j)`. As in the reference generator, these elements are reduced and not rejected.
    fn next_cauchy_matrix<const WIDTH: usize>(&mut self) -> Matrix<WIDTH> {
        loop {
            let elements: Vec<Fr> =
                (0..2 * WIDTH).map(|_| Fr::from_le_bytes_mod_order(&self.next_bits().to_bytes_le())).collect();
            let (xs, ys) = elements.split_at(WIDTH);
            let distinct = (0..elements.len()).all(|i| !elements[..i].contains(&elements[i]));
            let invertible = xs.iter().all(|x| ys.iter().all(|y| !(*x + y).is_zero()));
            if distinct && invertible {
                return std::array::from_fn(|row| {
                    std::array::from_fn(|column| (xs[row] + ys[column]).inverse().expect("checked to be non-zero"))
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bn254::permutation::{permute, permute_by_the_paper};
    use ark_ff::MontFp;

    const HALF: Fr = MontFp!("10944121435919637611123202872628637544274182200208017171849102093287904247809");

    fn hash_first_lane<const WIDTH: usize>(partial_rounds: usize, inputs: &[u64]) -> String {
        let parameters = Parameters::<WIDTH>::generate(partial_rounds);
        let mut state = [Fr::zero(); WIDTH];
        for (lane, input) in state[1..].iter_mut().zip(inputs) {
            *lane = Fr::from(*input);
        }
        permute(&parameters, &mut state);
        state[0].to_string()
    }

    #[test]
    fn digests_equal_the_published_ones() {
        assert_eq!(
            hash_first_lane::<2>(56, &[1]),
            "18586133768512220936620570745912940619677854269274689475585506675881198879027"
        );
        assert_eq!(
            hash_first_lane::<3>(57, &[1, 2]),
            "7853200120776062878684798364095072458815029376092732009249414926327459813530"
        );
        assert_eq!(
            hash_first_lane::<6>(60, &[1, 2, 0, 0, 0]),
            "1018317224307729531995786483840663576608797660851238720571059489595066344487"
        );
        assert_eq!(
            hash_first_lane::<7>(63, &[1, 2, 3, 4, 5, 6]),
            "20400040500897583745843009878988256314335038853985262692600694741116813247201"
        );
    }

    #[test]
    fn sparse_rounds_equal_the_papers_rounds() {
        let parameters = Parameters::<12>::generate(60);
        let mut sparse: [Fr; 12] = std::array::from_fn(|lane| Fr::from(lane as u64 + 7) * HALF);
        let mut plain = sparse;
        permute(&parameters, &mut sparse);
        permute_by_the_paper(&parameters, &mut plain);
        assert_eq!(sparse, plain);
    }
}
