//! The vanishing check: gate constraints, the permutation argument and the quotient, at the opened point.
//!
//! **Claim.** With the opened values, `Σ αᵏ·termₖ(ζ) = Z_H(ζ)·t(ζ)` holds modulo p for each challenge α, where the terms are
//! plonky2's and in its order: L₀·(Z − 1) per challenge, the partial products per challenge, the gate constraints.

use plonky2::field::types::{Field, PrimeField64};

use crate::circuit::{Circuit, Integer, Synthesis};
use crate::gates::{Part, Row, evaluate};
use crate::goldilocks::{Ext, FE, base_powers, powers, reduce};
use crate::inner::InnerCircuit;

/// Opened values, each coordinate below 2⁶⁴.
pub(crate) struct Openings {
    pub(crate) constants: Vec<Ext>,
    pub(crate) sigmas: Vec<Ext>,
    pub(crate) wires: Vec<Ext>,
    pub(crate) zs: Vec<Ext>,
    pub(crate) partial_products: Vec<Ext>,
    pub(crate) quotients: Vec<Ext>,
    pub(crate) zs_next: Vec<Ext>,
}

impl Openings {
    /// What is opened at ζ, in the order of the oracles.
    pub(crate) fn at_point(&self) -> impl Iterator<Item = &Ext> {
        [&self.constants, &self.sigmas, &self.wires, &self.zs, &self.partial_products, &self.quotients]
            .into_iter()
            .flatten()
    }
}

/// The challenges of the vanishing check, reduced.
pub(crate) struct PlonkChallenges {
    pub(crate) betas: Vec<Integer>,
    pub(crate) gammas: Vec<Integer>,
    pub(crate) alphas: Vec<Integer>,
    pub(crate) zeta: Ext,
}

/// Gate selectors that no row uses are filled with this.
const UNUSED_SELECTOR: u64 = u32::MAX as u64;

/// Values wider than this are reduced before they are summed with powers of α: a power takes 64 bits, a product in the
/// extension by a base element none, and the at most 2⁹ summands nine, which stays below 253.
const SUMMAND_BITS_MAX: u64 = 176;

/// Enforces the vanishing identity for every challenge.
pub(crate) fn enforce_vanishing(
    circuit: &mut Circuit,
    inner: &InnerCircuit,
    openings: &Openings,
    challenges: &PlonkChallenges,
    public_inputs_hash: &[Integer; 4],
) -> Synthesis<()> {
    let common = &inner.common;
    let count = common.config.num_challenges;

    circuit.enter("vanishing: permutation");
    // A ζ of the base field could make denominators zero, here and in the openings. It has probability 2⁻⁶⁴.
    challenges.zeta.enforce_outside_base(circuit)?;
    let mut zeta_power = challenges.zeta.clone();
    for _ in 0..common.degree_bits() {
        zeta_power = zeta_power.square(circuit)?.reduce(circuit)?;
    }
    let zero_polynomial = zeta_power.sub(&Ext::one());
    let first_lagrange = first_lagrange(circuit, inner, &challenges.zeta, &zero_polynomial)?;
    let mut first_terms = Vec::new();
    for z in &openings.zs {
        first_terms.push(first_lagrange.multiply(circuit, &z.sub(&Ext::one()))?);
    }
    let product_terms = permutation_terms(circuit, inner, openings, challenges)?;
    first_terms.extend(product_terms);
    let first_terms = narrow(circuit, first_terms)?;

    circuit.enter("vanishing: powers of alpha");
    let powers_needed = common.num_gate_constraints.max(first_terms.len() + 1);
    let alpha_powers = challenges
        .alphas
        .iter()
        .map(|alpha| base_powers(circuit, alpha, powers_needed))
        .collect::<Synthesis<Vec<_>>>()?;

    let gate_sums = gate_sums(circuit, inner, openings, public_inputs_hash, &alpha_powers)?;

    circuit.enter("vanishing: quotient");
    let quotient_powers = powers(circuit, &zeta_power, common.quotient_degree_factor)?;
    for challenge in 0..count {
        let mut sum = weigh(circuit, &alpha_powers[challenge], &first_terms)?;
        let gates = gate_sums[challenge].reduce(circuit)?;
        sum = sum.add(&gates.multiply_base(circuit, &alpha_powers[challenge][first_terms.len()])?);
        let chunk = &openings.quotients
            [challenge * common.quotient_degree_factor..(challenge + 1) * common.quotient_degree_factor];
        let mut quotient = Ext::zero();
        for (part, power) in chunk.iter().zip(&quotient_powers) {
            quotient = quotient.add(&part.multiply(circuit, power)?);
        }
        let expected = quotient.multiply(circuit, &zero_polynomial)?;
        sum.sub(&expected).enforce_zero(circuit)?;
    }
    Ok(())
}

/// `L₀(ζ) = (ζⁿ − 1)/(n·(ζ − 1))`: unique, because ζ is not in the base field and so is not one.
fn first_lagrange(circuit: &mut Circuit, inner: &InnerCircuit, zeta: &Ext, zero_polynomial: &Ext) -> Synthesis<Ext> {
    let degree = inner.common.degree() as u64;
    let denominator = zeta.sub(&Ext::one()).scale(degree);
    let hint = zero_polynomial.value() * denominator.value().try_inverse().unwrap_or(FE::ZERO);
    let result = Ext::witness(circuit, hint)?;
    let product = result.multiply(circuit, &denominator)?;
    product.sub(zero_polynomial).enforce_zero(circuit)?;
    Ok(result)
}

/// Per challenge and chunk of wires: `prev·Π(w + β·k·ζ + γ) − next·Π(w + β·σ + γ)`.
///
/// A factor has 128 bits, and a product of two of them does not fit. Expanded by powers of β and γ it does, because then
/// every summand is a product of three residues:
/// `(w₁ + βs₁ + γ)(w₂ + βs₂ + γ) = w₁w₂ + γ(w₁ + w₂) + γ² + β(w₁s₂ + w₂s₁) + βγ(s₁ + s₂) + β²s₁s₂`.
/// So a reduction serves two factors; and products that no challenge occurs in are shared by all challenges.
fn permutation_terms(
    circuit: &mut Circuit,
    inner: &InnerCircuit,
    openings: &Openings,
    challenges: &PlonkChallenges,
) -> Synthesis<Vec<Ext>> {
    let common = &inner.common;
    let routed = common.config.num_routed_wires;
    let chunk_size = common.quotient_degree_factor;
    let shifts = &common.k_is;

    let pairs: Vec<Vec<usize>> = (0..routed)
        .collect::<Vec<_>>()
        .chunks(chunk_size)
        .flat_map(|chunk| chunk.chunks(2).map(<[usize]>::to_vec))
        .collect();
    let mut shared = Vec::new();
    for pair in &pairs {
        shared.push(match pair[..] {
            [i, j] => Some(SharedProducts {
                wires: openings.wires[i].multiply(circuit, &openings.wires[j])?,
                mixed: openings.wires[i]
                    .multiply(circuit, &openings.sigmas[j])?
                    .add(&openings.wires[j].multiply(circuit, &openings.sigmas[i])?),
                sigmas: openings.sigmas[i].multiply(circuit, &openings.sigmas[j])?,
            }),
            _ => None,
        });
    }

    let mut terms = Vec::new();
    for challenge in 0..common.config.num_challenges {
        let (beta, gamma) = (&challenges.betas[challenge], &challenges.gammas[challenge]);
        let product = |circuit: &mut Circuit, left: &Integer, right: &Integer| {
            let product = circuit.multiply_integers(left, right)?;
            reduce(circuit, &product)
        };
        let gamma_squared = product(circuit, gamma, gamma)?;
        let beta_gamma = product(circuit, beta, gamma)?;
        let beta_squared = product(circuit, beta, beta)?;
        let beta_zeta = challenges.zeta.multiply_base(circuit, beta)?.reduce(circuit)?;
        let beta_gamma_zeta = beta_zeta.multiply_base(circuit, gamma)?.reduce(circuit)?;
        let beta_zeta_squared = beta_zeta.square(circuit)?.reduce(circuit)?;

        let (mut numerators, mut denominators) = (Vec::new(), Vec::new());
        for (pair, shared) in pairs.iter().zip(&shared) {
            let Some(shared) = shared else {
                let wire = openings.wires[pair[0]].add(&Ext::from_base(gamma.clone()));
                numerators.push(wire.add(&beta_zeta.scale(shifts[pair[0]].to_canonical_u64())));
                denominators.push(wire.add(&openings.sigmas[pair[0]].multiply_base(circuit, beta)?));
                continue;
            };
            let (i, j) = (pair[0], pair[1]);
            let wires = openings.wires[i].add(&openings.wires[j]);
            let common_part =
                shared.wires.add(&wires.multiply_base(circuit, gamma)?).add(&Ext::from_base(gamma_squared.clone()));

            let weighted = openings.wires[i]
                .scale(shifts[j].to_canonical_u64())
                .add(&openings.wires[j].scale(shifts[i].to_canonical_u64()));
            let numerator = common_part
                .add(&beta_zeta.multiply(circuit, &weighted)?)
                .add(&beta_gamma_zeta.scale((shifts[i] + shifts[j]).to_canonical_u64()))
                .add(&beta_zeta_squared.scale((shifts[i] * shifts[j]).to_canonical_u64()));
            numerators.push(numerator.reduce(circuit)?);

            let sigmas = openings.sigmas[i].add(&openings.sigmas[j]);
            let denominator = common_part
                .add(&shared.mixed.multiply_base(circuit, beta)?)
                .add(&sigmas.multiply_base(circuit, &beta_gamma)?)
                .add(&shared.sigmas.multiply_base(circuit, &beta_squared)?);
            denominators.push(denominator.reduce(circuit)?);
        }

        let partials = &openings.partial_products
            [challenge * common.num_partial_products..(challenge + 1) * common.num_partial_products];
        let accumulators: Vec<&Ext> =
            std::iter::once(&openings.zs[challenge]).chain(partials).chain([&openings.zs_next[challenge]]).collect();
        let pairs_per_chunk = chunk_size.div_ceil(2);
        let chunks = numerators.chunks(pairs_per_chunk).zip(denominators.chunks(pairs_per_chunk));
        for ((numerators, denominators), ends) in chunks.zip(accumulators.windows(2)) {
            let mut left = ends[0].clone();
            let mut right = ends[1].clone();
            for (numerator, denominator) in numerators.iter().zip(denominators) {
                left = left.multiply(circuit, numerator)?;
                right = right.multiply(circuit, denominator)?;
            }
            terms.push(left.sub(&right));
        }
    }
    Ok(terms)
}

struct SharedProducts {
    wires: Ext,
    mixed: Ext,
    sigmas: Ext,
}

fn narrow(circuit: &mut Circuit, values: Vec<Ext>) -> Synthesis<Vec<Ext>> {
    values
        .into_iter()
        .map(|value| if value.width() > SUMMAND_BITS_MAX { value.reduce(circuit) } else { Ok(value) })
        .collect()
}

/// `Σ powerₖ·valueₖ` of narrow values.
fn weigh(circuit: &mut Circuit, powers: &[Integer], values: &[Ext]) -> Synthesis<Ext> {
    let mut parts = Vec::with_capacity(values.len());
    for (power, value) in powers.iter().zip(values) {
        parts.push(value.multiply_base(circuit, power)?);
    }
    Ok(Ext::sum(parts.iter().map(|part| (1, part))))
}

/// Per challenge: `Σ filter·Σ αᵏ·constraintₖ` over gates.
fn gate_sums(
    circuit: &mut Circuit,
    inner: &InnerCircuit,
    openings: &Openings,
    public_inputs_hash: &[Integer; 4],
    alpha_powers: &[Vec<Integer>],
) -> Synthesis<Vec<Ext>> {
    let row = Row {
        constants: &openings.constants[inner.common.selectors_info.num_selectors()..],
        wires: &openings.wires,
        public_inputs_hash,
    };
    circuit.enter("gates: filters");
    let filters = filters(circuit, inner, openings)?;
    let mut sums = vec![Ext::zero(); alpha_powers.len()];
    for (selected, filter) in inner.gates.iter().zip(&filters) {
        circuit.enter(selected.gate.part_name());
        let parts = evaluate(circuit, &selected.gate, &row)?
            .into_iter()
            .map(|part| Ok(Part { factor: part.factor, values: narrow(circuit, part.values)? }))
            .collect::<Synthesis<Vec<_>>>()?;
        if parts.is_empty() {
            continue;
        }
        circuit.enter("gates: combination");
        for (sum, powers) in sums.iter_mut().zip(alpha_powers) {
            let mut gate_sum = Ext::zero();
            for part in &parts {
                let weighted = weigh(circuit, powers, &part.values)?;
                gate_sum = gate_sum.add(&match &part.factor {
                    Some(factor) => factor.multiply(circuit, &weighted)?,
                    None => weighted,
                });
            }
            *sum = sum.add(&filter.multiply(circuit, &gate_sum)?);
        }
    }
    Ok(sums)
}

/// Each gate's filter: the product of (index − selector) over the other gates of its group, and over the unused marker if
/// there are several groups. Prefix and suffix products make that linear in the group's size.
fn filters(circuit: &mut Circuit, inner: &InnerCircuit, openings: &Openings) -> Synthesis<Vec<Ext>> {
    let mut filters = vec![Ext::zero(); inner.gates.len()];
    for (group, range) in inner.groups.iter().enumerate() {
        let selector = &openings.constants[group];
        let factor = |index: u64| Ext::from_base(Integer::constant(index)).sub(selector);
        let mut suffixes = vec![if inner.groups.len() > 1 { factor(UNUSED_SELECTOR) } else { Ext::one() }];
        for gate in range.clone().rev() {
            let last = suffixes.last().expect("there is a first suffix").clone();
            suffixes.push(factor(gate as u64).multiply(circuit, &last)?.reduce(circuit)?);
        }
        let mut prefix = Ext::one();
        for (position, gate) in range.clone().enumerate() {
            let suffix = &suffixes[range.len() - 1 - position];
            filters[gate] = prefix.multiply(circuit, suffix)?.reduce(circuit)?;
            if position + 1 < range.len() {
                prefix = prefix.multiply(circuit, &factor(gate as u64))?.reduce(circuit)?;
            }
        }
    }
    debug_assert!(inner.gates.iter().enumerate().all(|(gate, selected)| inner.groups[selected.group].contains(&gate)));
    Ok(filters)
}
