//! The prover's side of openings, in a quarter of Plonky3's work and with the same proof to the last bit.
//!
//! FRI is given, for each height, the sum over all committed columns f and the points z at which they are opened of αⁱ · (f(z) − f(x)) / (z − x). Plonky3's prover
//! evaluates it at every point x of the codeword. But each summand is a polynomial of lower degree than f, so that its values at as many points as the trace has rows
//! fix it: here the sum is evaluated on the trace-sized part of the codeword's coset, and extended as one column from there. What is read and multiplied is a fourth.
//!
//! A prover's short cut and nothing else: verifiers know [`crate::config::Config`] alone. The pinned proof of `tests/pinned.rs` is the one that Plonky3 makes, and a test
//! below compares the two.

use core::marker::PhantomData;

use p3_batch_stark::BatchProof;
use p3_commit::{CommitmentOpening, Mmcs, OpenedValues, OpeningRequest, Pcs, PeriodicLdeTable, UnivariateStarkPcs};
use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};
use p3_field::{
    BasedVectorSpace, Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing, batch_multiplicative_inverse,
    coset::TwoAdicMultiplicativeCoset, dot_product,
};
use p3_fri::{FriParameters, PcsProverTranscript, PcsShape, TwoAdicFriFolding, prover::prove_fri};
use p3_matrix::{
    Matrix,
    bitrev::BitReversibleMatrix,
    dense::{RowMajorMatrix, RowMajorMatrixView},
    interpolation::{Interpolate, compute_adjusted_weights},
};
use p3_maybe_rayon::prelude::*;
use p3_uni_stark::StarkConfig;
use p3_util::{log2_strict_usize, reverse_slice_index_bits};

use crate::{
    Felt,
    config::{Challenge, ChallengeMmcs, Challenger, Config, FeltMmcs, TablePcs},
};

/// The proof system as a prover runs it.
pub type ProverConfig = StarkConfig<ProverPcs, Challenge, Challenger>;

/// Base-field columns of one column over the extension.
const EXTENSION: usize = <Challenge as BasedVectorSpace<Felt>>::DIMENSION;

type Domain = <TablePcs as Pcs<Challenge, Challenger>>::Domain;
type Commitment = <TablePcs as Pcs<Challenge, Challenger>>::Commitment;
type Committed = <TablePcs as Pcs<Challenge, Challenger>>::ProverData;
type OpeningProof = <TablePcs as Pcs<Challenge, Challenger>>::Proof;
type Error = <TablePcs as Pcs<Challenge, Challenger>>::Error;
type ProverError = <TablePcs as Pcs<Challenge, Challenger>>::ProverError;
type Packed = <Challenge as p3_field::ExtensionField<Felt>>::ExtensionPacking;

/// Plonky3's commitment scheme with an opening of its own.
#[derive(Clone)]
pub struct ProverPcs {
    pcs: TablePcs,
    dft: Radix2DitParallel<Felt>,
    mmcs: FeltMmcs,
    fri: FriParameters<ChallengeMmcs>,
}

impl core::fmt::Debug for ProverPcs {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("ProverPcs").field("log_blowup", &self.fri.log_blowup).finish_non_exhaustive()
    }
}

impl ProverPcs {
    /// The scheme with these parts.
    #[must_use]
    pub fn new(dft: Radix2DitParallel<Felt>, mmcs: FeltMmcs, fri: FriParameters<ChallengeMmcs>) -> Self {
        Self { pcs: TablePcs::new(dft.clone(), mmcs.clone(), fri.clone()), dft, mmcs, fri }
    }
}

/// A proof as verifiers take it: the two systems share every type that is in one.
#[must_use]
pub fn into_verifiers(proof: BatchProof<ProverConfig>) -> BatchProof<Config> {
    BatchProof {
        commitments: proof.commitments,
        opened_values: proof.opened_values,
        opening_proof: proof.opening_proof,
        lookup_terminals: proof.lookup_terminals,
        degree_bits: proof.degree_bits,
        lookup_pow_witness: proof.lookup_pow_witness,
        ood_pow_witness: proof.ood_pow_witness,
    }
}

/// A point at which columns are opened, with what depends on nothing else.
struct Point {
    point: Challenge,
    /// 1 / (z − x) for the x of the largest trace-sized coset that is opened here, in bit-reversed order: of smaller ones they are the first.
    inverses: Vec<Challenge>,
    /// Weights of barycentric interpolation from the same x.
    weights: Vec<Challenge>,
}

/// All points at which anything is opened. There are few: the out-of-domain one, and one for the next row of each height.
struct Points(Vec<Point>);

impl Points {
    fn new<'a>(opened: impl Iterator<Item = (RowMajorMatrixView<'a, Felt>, &'a [Challenge])>) -> Self {
        let mut heights: Vec<(Challenge, usize)> = Vec::new();
        for (matrix, points) in opened {
            for &point in points {
                match heights.iter_mut().find(|(known, _)| *known == point) {
                    Some((_, height)) => *height = matrix.height().max(*height),
                    None => heights.push((point, matrix.height())),
                }
            }
        }
        let height_max = heights.iter().map(|(_, height)| *height).max().unwrap_or(1);
        let coset = TwoAdicMultiplicativeCoset::new(Felt::GENERATOR, log2_strict_usize(height_max))
            .expect("what is committed to is within the two-adic subgroup");
        let mut xs: Vec<Felt> = coset.iter().collect();
        reverse_slice_index_bits(&mut xs);
        let points = heights.into_iter().map(|(point, height)| {
            let differences: Vec<Challenge> = xs[..height].par_iter().map(|&x| point - x).collect();
            let inverses = batch_multiplicative_inverse(&differences);
            let weights = compute_adjusted_weights(point, &inverses);
            Point { point, inverses, weights }
        });
        Self(points.collect())
    }

    fn get(&self, point: Challenge) -> &Point {
        self.0.iter().find(|known| known.point == point).expect("all points that are asked for are known")
    }
}

/// The sum of one height's columns on the trace-sized coset.
struct Reduced {
    sums: Vec<Challenge>,
    /// α to the number of columns that are in the sum, each counted once for each point it is opened at.
    next_power: Challenge,
}

impl Reduced {
    fn of_height(height: usize) -> Self {
        Self { sums: Challenge::zero_vec(height), next_power: Challenge::ONE }
    }

    /// Adds the columns of a matrix, opened at `points` with these values.
    fn add(
        &mut self,
        matrix: RowMajorMatrixView<'_, Felt>,
        points: &[&Point],
        values: &[Vec<Challenge>],
        alpha: Challenge,
        packed_powers: &[Packed],
    ) {
        let per_matrix = alpha.exp_u64(matrix.width() as u64);
        // For each point its weight, and the weighted sum of the columns' values there.
        let weighted: Vec<(Challenge, Challenge, &[Challenge])> = points
            .iter()
            .zip(values)
            .map(|(point, values)| {
                let weight = self.next_power;
                self.next_power *= per_matrix;
                let value: Challenge = dot_product(alpha.powers(), values.iter().copied());
                (weight, weight * value, point.inverses.as_slice())
            })
            .collect();
        let packed_width = matrix.width().div_ceil(<Felt as Field>::Packing::WIDTH);
        matrix
            .rowwise_packed_dot_product::<Challenge>(&packed_powers[..packed_width])
            .zip(self.sums.par_iter_mut())
            .enumerate()
            .for_each(|(row, (combined, sum))| {
                for &(weight, value, inverses) in &weighted {
                    *sum += (value - weight * combined) * inverses[row];
                }
            });
    }

    /// The codeword: the sum on the whole coset, in bit-reversed order as it is committed to.
    fn extend(mut self, dft: &Radix2DitParallel<Felt>, log_blowup: usize) -> Vec<Challenge> {
        reverse_slice_index_bits(&mut self.sums);
        let column = RowMajorMatrix::new(Challenge::flatten_to_base(self.sums), EXTENSION);
        // From gH to gK: the coset stays.
        let codeword = dft.coset_lde_batch(column, log_blowup, Felt::ONE).bit_reverse_rows().to_row_major_matrix();
        Challenge::reconstitute_from_base(codeword.values)
    }
}

impl Pcs<Challenge, Challenger> for ProverPcs {
    type Domain = Domain;
    type Commitment = Commitment;
    type ProverData = Committed;
    type Proof = OpeningProof;
    type Error = Error;
    type ProverError = ProverError;

    fn natural_domain_for_degree(&self, degree: usize) -> Domain {
        Pcs::<Challenge, Challenger>::natural_domain_for_degree(&self.pcs, degree)
    }

    fn commit(
        &self,
        evaluations: impl IntoIterator<Item = (Domain, RowMajorMatrix<Felt>)>,
    ) -> Result<(Commitment, Committed), ProverError> {
        Pcs::<Challenge, Challenger>::commit(&self.pcs, evaluations)
    }

    fn open(
        &self,
        requests: Vec<OpeningRequest<'_, Committed, Challenge>>,
        challenger: &mut Challenger,
    ) -> Result<(OpenedValues<Challenge>, OpeningProof), ProverError> {
        let log_blowup = self.fri.log_blowup;
        // Codewords are in bit-reversed order: their first rows are the trace-sized coset.
        let opened: Vec<Vec<(RowMajorMatrixView<'_, Felt>, &[Challenge])>> = requests
            .iter()
            .map(|request| {
                let matrices = self.mmcs.get_matrices(request.prover_data).into_iter();
                let trace_sized = matrices.map(|matrix| matrix.split_rows(matrix.height() >> log_blowup).0);
                trace_sized.zip(&request.points).map(|(matrix, points)| (matrix, points.as_slice())).collect()
            })
            .collect();
        let points = Points::new(opened.iter().flatten().copied());

        let value = |matrix: &RowMajorMatrixView<'_, Felt>, point: Challenge| {
            let weights = &points.get(point).weights[..matrix.height()];
            matrix.interpolate_coset_with_precomputation(Felt::GENERATOR, point, weights)
        };
        let values: OpenedValues<Challenge> = opened
            .iter()
            .map(|round| {
                let of_matrix = |(matrix, points): &(RowMajorMatrixView<'_, Felt>, &[Challenge])| {
                    points.iter().map(|&point| value(matrix, point)).collect()
                };
                round.iter().map(of_matrix).collect()
            })
            .collect();

        let shape = PcsShape::from_opened_values(&self.fri, &values);
        let mut transcript = PcsProverTranscript::<Challenger, Felt, Challenge>::new(challenger, shape);
        transcript.claimed_openings(&values);
        let (alpha, grinding) = transcript.batch_phase();

        let width_max = opened.iter().flatten().map(|(matrix, _)| matrix.width()).max().unwrap_or(0);
        let packed_powers: Vec<Packed> = Packed::packed_ext_powers_capped(alpha, width_max).collect();
        // By the logarithm of the height.
        let mut reduced: Vec<Option<Reduced>> = (0..usize::BITS).map(|_| None).collect();
        for (round, values) in opened.iter().zip(&values) {
            for ((matrix, at), values) in round.iter().zip(values) {
                let at: Vec<&Point> = at.iter().map(|&point| points.get(point)).collect();
                reduced[log2_strict_usize(matrix.height())]
                    .get_or_insert_with(|| Reduced::of_height(matrix.height()))
                    .add(*matrix, &at, values, alpha, &packed_powers);
            }
        }
        drop(points);
        let codewords: Vec<Vec<Challenge>> =
            reduced.into_iter().rev().flatten().map(|reduced| reduced.extend(&self.dft, log_blowup)).collect();

        let log_height_max = codewords.first().map_or(0, |codeword| log2_strict_usize(codeword.len()));
        let folding = TwoAdicFriFolding(PhantomData);
        let proof = transcript.delegate(|challenger| {
            prove_fri::<TwoAdicFriFolding<_, <FeltMmcs as Mmcs<Felt>>::Error>, _, _, _, _, _>(
                &folding,
                &self.fri,
                codewords,
                challenger,
                log_height_max,
                &requests,
                &self.mmcs,
                grinding.unwrap_or(Felt::ZERO),
            )
        });
        match proof {
            Ok(proof) => {
                transcript.finish();
                Ok((values, proof))
            }
            Err(error) => {
                transcript.abort();
                Err(error)
            }
        }
    }

    fn verify(
        &self,
        openings: Vec<CommitmentOpening<Challenge, Commitment, Domain>>,
        proof: &OpeningProof,
        challenger: &mut Challenger,
    ) -> Result<(), Error> {
        Pcs::<Challenge, Challenger>::verify(&self.pcs, openings, proof, challenger)
    }
}

impl UnivariateStarkPcs<Challenge, Challenger> for ProverPcs {
    type EvaluationsOnDomain<'a> = <TablePcs as UnivariateStarkPcs<Challenge, Challenger>>::EvaluationsOnDomain<'a>;

    const ZK: bool = <TablePcs as UnivariateStarkPcs<Challenge, Challenger>>::ZK;

    fn log_max_trace_height(&self) -> usize {
        UnivariateStarkPcs::<Challenge, Challenger>::log_max_trace_height(&self.pcs)
    }

    fn log_min_trace_height(&self) -> usize {
        UnivariateStarkPcs::<Challenge, Challenger>::log_min_trace_height(&self.pcs)
    }

    fn get_quotient_ldes(
        &self,
        evaluations: impl IntoIterator<Item = (Domain, RowMajorMatrix<Felt>)>,
        chunks: usize,
    ) -> Result<Vec<RowMajorMatrix<Felt>>, ProverError> {
        UnivariateStarkPcs::<Challenge, Challenger>::get_quotient_ldes(&self.pcs, evaluations, chunks)
    }

    fn commit_ldes(&self, codewords: Vec<RowMajorMatrix<Felt>>) -> Result<(Commitment, Committed), ProverError> {
        UnivariateStarkPcs::<Challenge, Challenger>::commit_ldes(&self.pcs, codewords)
    }

    fn get_evaluations_on_domain<'a>(
        &self,
        committed: &'a Committed,
        index: usize,
        domain: Domain,
    ) -> Self::EvaluationsOnDomain<'a> {
        UnivariateStarkPcs::<Challenge, Challenger>::get_evaluations_on_domain(&self.pcs, committed, index, domain)
    }

    fn build_periodic_lde_table(
        &self,
        columns: &[Vec<Felt>],
        trace_domain: Domain,
        quotient_domain: Domain,
    ) -> PeriodicLdeTable<Felt> {
        UnivariateStarkPcs::<Challenge, Challenger>::build_periodic_lde_table(
            &self.pcs,
            columns,
            trace_domain,
            quotient_domain,
        )
    }
}

#[cfg(test)]
mod tests {
    use p3_batch_stark::{ProverData, StarkInstance, prove_batch};

    use crate::{
        config::Profile, proof::Proof, prove::Setup, shape::Shape, table::TableName, tests::every_call,
        witness::Witness,
    };

    /// Every table and every number of points at once: the proof is the one that Plonky3's own prover makes.
    #[test]
    fn the_proof_is_the_one_that_plonky3_makes() {
        let (image, records) = every_call();
        let (shape, profile) = (Shape::Tiny, Profile::Proven);
        // Grinding takes whichever witness some thread finds first: with one thread that is the least.
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let own = one_thread.install(|| Setup::new(shape, &image).unwrap().prove(profile, &records)).unwrap();

        let tables = shape.tables(&image).unwrap();
        let witness = Witness::new(shape, &tables, &image, &records).unwrap();
        let heights: Vec<usize> = TableName::ALL.iter().map(|&table| shape.height_bits(table)).collect();
        let config = profile.config();
        let data = ProverData::from_airs_and_degrees(&config, &tables, &heights).unwrap();
        let instances = tables.iter().zip(&witness.traces).map(|(air, trace)| StarkInstance {
            air,
            trace,
            public_values: witness.public_values_of(air.name()).to_vec(),
        });
        let instances: Vec<_> = instances.collect();
        let batch = one_thread.install(|| prove_batch(&config, &instances, &data)).unwrap();
        assert!(own.encode() == Proof { shape, profile, batch }.encode(), "another proof than Plonky3's");
    }
}
