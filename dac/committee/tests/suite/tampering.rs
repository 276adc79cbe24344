use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256, uint},
    sol_types::SolError,
};
use joule_committee::{Certificate, CertificateError, CompactSignature, G1, G2, Scheme, SignatureError, Signatures};
use joule_contracts::DataCommittee;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::network::Network;

const SECP256K1_ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
const PARITY: U256 = uint!(0x8000000000000000000000000000000000000000000000000000000000000000_U256);

/// What the contract reverts with for the same reason.
fn as_revert(error: &CertificateError) -> Bytes {
    use DataCommittee as contract;
    let words = |value: usize| U256::from(value);
    let bytes = match *error {
        CertificateError::UnknownKeyset { got, .. } => {
            contract::DataCommittee_UnknownKeyset { keysetHash: got }.abi_encode()
        }
        CertificateError::ExpiresTooSoon { expiry_min, got } => {
            contract::DataCommittee_ExpiresTooSoon { expiryMin: U256::from(expiry_min), actual: got }.abi_encode()
        }
        CertificateError::QuorumMissed { quorum, got } => {
            contract::Certificates_QuorumMissed { expected: U256::from(quorum), actual: words(got) }.abi_encode()
        }
        CertificateError::OutOfOrder { previous, signer } => {
            contract::Certificates_OutOfOrder { previous, signer }.abi_encode()
        }
        CertificateError::NotAMember { signer } => contract::Certificates_NotAMember { signer }.abi_encode(),
        CertificateError::BadSignature { source: SignatureError::HighS { s }, .. } => {
            contract::ECDSAInvalidSignatureS { s }.abi_encode()
        }
        CertificateError::BadSignature { .. } => contract::ECDSAInvalidSignature {}.abi_encode(),
        CertificateError::UnknownBits { members, bitmap } => {
            contract::Certificates_UnknownBits { members: words(members), bitmap }.abi_encode()
        }
        CertificateError::KeyAtInfinity => contract::Certificates_KeyAtInfinity {}.abi_encode(),
        CertificateError::NoPointG1 { .. } => contract::Bn254_PrecompileRefused { precompile: words(6) }.abi_encode(),
        CertificateError::NoPointG2 { .. } => contract::Bn254_PrecompileRefused { precompile: words(8) }.abi_encode(),
        CertificateError::SignatureRefused { digest } => {
            contract::Certificates_SignatureRefused { digest }.abi_encode()
        }
        other => panic!("the contract has no word for: {other}"),
    };
    bytes.into()
}

/// Both refuse, for the same reason and with the same values.
async fn both_refuse(network: &Network, what: &str, certificate: Certificate) -> CertificateError {
    let keyset_hash = network.keyset(certificate.scheme()).hash();
    let here = certificate.clone().verify(keyset_hash, network.expiry_min).expect_err(what);
    let there = network.verdict(&certificate).await.expect_err(what);
    assert_eq!(as_revert(&here), there, "{what}: {here}");
    here
}

fn tampered(certificate: &Certificate, change: impl FnOnce(&mut Certificate)) -> Certificate {
    let mut changed = certificate.clone();
    change(&mut changed);
    assert_ne!(changed, *certificate);
    changed
}

async fn statement_is_bound(network: &Network, honest: &Certificate) {
    type Change = fn(&mut Certificate);
    let changes: [(&str, Change); 9] = [
        ("another rollup", |c| c.statement.rollup = Address::repeat_byte(5)),
        ("another number", |c| c.statement.batch_number += 1),
        ("another parent", |c| c.statement.parent_checkpoint = B256::ZERO),
        ("another checkpoint", |c| c.statement.checkpoint.0[31] ^= 1),
        ("after a revert", |c| c.statement.revert_count += 1),
        ("another length", |c| c.statement.data_bytes -= 1),
        ("a longer life", |c| c.statement.expiry += 1),
        ("too short a life", |c| c.statement.expiry -= 1),
        ("a lower quorum", |c| c.quorum -= 1),
    ];
    for (what, change) in changes {
        both_refuse(network, what, tampered(honest, change)).await;
    }
}

#[tokio::test]
async fn ecdsa_verdicts_agree() {
    let network = Network::start(5, 2).await;
    let honest = network.certificate(Scheme::Ecdsa, 4);
    assert_eq!(network.verdict(&honest).await, Ok(()));
    statement_is_bound(&network, &honest).await;

    type Change = fn(&mut Vec<Address>, &mut Vec<CompactSignature>);
    let changes: [(&str, Change); 10] = [
        ("a signature short", |_, signatures| signatures.truncate(3)),
        ("no signatures", |_, signatures| signatures.clear()),
        ("one twice", |_, signatures| signatures[3] = signatures[2]),
        ("out of order", |_, signatures| signatures.swap(0, 1)),
        ("one more, again the first", |_, signatures| signatures.push(signatures[0])),
        ("another keyset", |keyset, _| keyset[0] = Address::ZERO),
        ("a smaller keyset", |keyset, _| keyset.truncate(4)),
        ("r of zero", |_, signatures| signatures[1].r = B256::ZERO),
        ("s above half the order", |_, signatures| signatures[0].vs = B256::from(U256::MAX >> 1)),
        ("the signature's twin", |_, signatures| {
            let vs = U256::from_be_bytes(signatures[0].vs.0);
            let high = SECP256K1_ORDER - (vs & !PARITY);
            // Its top bit is where the parity is, so that EIP-2098 cannot even say it: both read something else.
            signatures[0].vs = B256::from(high | (!vs & PARITY));
        }),
    ];
    for (what, change) in changes {
        let changed = tampered(&honest, |certificate| {
            let Signatures::Ecdsa { keyset, signatures } = &mut certificate.signatures else { panic!("ECDSA") };
            change(keyset, signatures);
        });
        both_refuse(&network, what, changed).await;
    }

    // Random bits of random signatures: whom the changed signature recovers to, if anybody, both say alike.
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut unrecoverable = 0;
    for _ in 0..48 {
        let (at, bit) = (random.random_range(0..4), random.random_range(0..512));
        let changed = tampered(&honest, |certificate| {
            let Signatures::Ecdsa { signatures, .. } = &mut certificate.signatures else { panic!("ECDSA") };
            let half = if bit < 256 { &mut signatures[at].r } else { &mut signatures[at].vs };
            half.0[bit % 256 / 8] ^= 1 << (bit % 8);
        });
        let error = both_refuse(&network, "a changed bit", changed).await;
        unrecoverable += usize::from(matches!(error, CertificateError::BadSignature { .. }));
    }
    assert!((1..48).contains(&unrecoverable), "both kinds were met");
}

#[tokio::test]
async fn bls_verdicts_agree() {
    let network = Network::start(5, 2).await;
    let honest = network.certificate(Scheme::Bls, 4);
    assert_eq!(network.verdict(&honest).await, Ok(()));
    statement_is_bound(&network, &honest).await;

    type Change = fn(&mut Vec<G1>, &mut U256, &mut G1, &mut G2);
    let changes: [(&str, Change); 15] = [
        ("a bit short", |_, bitmap, _, _| bitmap.set_bit(0, false)),
        ("no bits", |_, bitmap, _, _| *bitmap = U256::ZERO),
        ("a bit without signature", |_, bitmap, _, _| bitmap.set_bit(4, true)),
        ("other signers", |_, bitmap, _, _| *bitmap = U256::from(0b11110)),
        ("a bit of nobody", |_, bitmap, _, _| bitmap.set_bit(5, true)),
        ("the top bit", |_, bitmap, _, _| bitmap.set_bit(255, true)),
        ("another keyset", |keyset, _, _, _| keyset.swap(0, 1)),
        ("a key that is no point", |keyset, _, _, _| keyset[0].y += U256::from(1)),
        ("no signature", |_, _, signature, _| *signature = G1::INFINITY),
        ("another point", |_, _, signature, _| *signature = G1 { x: U256::from(1), y: U256::from(2) }),
        ("off the curve", |_, _, signature, _| signature.y += U256::from(1)),
        ("beyond the field", |_, _, signature, _| signature.x = U256::MAX),
        ("no key", |_, _, _, key| *key = G2::INFINITY),
        ("neither key nor signature", |_, _, signature, key| {
            *signature = G1::INFINITY;
            *key = G2::INFINITY;
        }),
        ("a key off the twist", |_, _, _, key| key.x_real += U256::from(1)),
    ];
    for (what, change) in changes {
        let changed = tampered(&honest, |certificate| {
            let Signatures::Bls { keyset, bitmap, signature, aggregate_key } = &mut certificate.signatures else {
                panic!("BLS")
            };
            change(keyset, bitmap, signature, aggregate_key);
        });
        both_refuse(&network, what, changed).await;
    }

    // A signature and key of the attacker's own choice: right under each other, and not the keyset's.
    let own = network.certificate(Scheme::Bls, 5);
    let changed = tampered(&honest, |certificate| {
        let Signatures::Bls { signature, aggregate_key, .. } = &mut certificate.signatures else { panic!("BLS") };
        let Signatures::Bls { signature: theirs, aggregate_key: key, .. } = own.signatures else { panic!("BLS") };
        (*signature, *aggregate_key) = (theirs, key);
    });
    both_refuse(&network, "five signers passed off as four", changed).await;

    let mut random = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..24 {
        let bit = random.random_range(0..6 * 256);
        let changed = tampered(&honest, |certificate| {
            let Signatures::Bls { signature, aggregate_key: key, .. } = &mut certificate.signatures else {
                panic!("BLS")
            };
            let words = [
                &mut signature.x,
                &mut signature.y,
                &mut key.x_imaginary,
                &mut key.x_real,
                &mut key.y_imaginary,
                &mut key.y_real,
            ];
            *words.into_iter().nth(bit / 256).expect("one of six") ^= U256::from(1) << (bit % 256);
        });
        both_refuse(&network, "a changed bit", changed).await;
    }
}

#[tokio::test]
async fn points_outside_the_subgroup_are_refused_by_both() {
    let network = Network::start(1, 1).await;
    let honest = network.certificate(Scheme::Bls, 1);
    // On the twist, of another order: found from a small x, as the crate's own tests find one.
    let outside = outside_the_subgroup();
    let changed = tampered(&honest, |certificate| {
        let Signatures::Bls { aggregate_key, .. } = &mut certificate.signatures else { panic!("BLS") };
        *aggregate_key = outside;
    });
    let error = both_refuse(&network, "a key of another order", changed).await;
    assert!(matches!(error, CertificateError::NoPointG2 { source: joule_committee::PointError::NotInSubgroup }));
}

fn outside_the_subgroup() -> G2 {
    use ark_ec::AffineRepr;
    use ark_ff::PrimeField;
    let point = (1u64..)
        .find_map(|x| ark_bn254::G2Affine::get_point_from_x_unchecked(ark_bn254::Fq2::from(x), true))
        .expect("some x");
    let word = |element: ark_bn254::Fq| U256::from_limbs(element.into_bigint().0);
    let (x, y) = point.xy().expect("not infinity");
    G2 { x_imaginary: word(x.c1), x_real: word(x.c0), y_imaginary: word(y.c1), y_real: word(y.c0) }
}

#[tokio::test]
async fn possession_is_asked_for_by_both() {
    let network = Network::start(1, 1).await;
    // The member's own key, taken by somebody else with the member's proof: made out to the member, so both refuse.
    let context =
        joule_committee::CommitteeContext { l1_chain_id: super::network::L1_CHAIN_ID, committee: network.committee };
    let contract = DataCommittee::new(network.committee, &network.provider);
    let thief = network.rollup;
    let own = joule_committee::EcdsaSecretKey::from_bytes(&keccak256("thief").0).expect("a key");
    let possession = own.prove_possession(&context, thief).expect("a proof");
    let call = contract.register(own.address(), possession.to_vec().into()).from(thief);
    assert!(call.send().await.expect("registers").get_receipt().await.expect("mined").status());
    let mut entropy = [7; 48];
    entropy[0] = 0;
    let secret = joule_committee::BlsSecretKey::from_entropy(&entropy).expect("a key");
    let registration = secret.register(&context, network.ecdsa.members()[0].account).expect("a proof");
    let here = registration.check(&context, thief).expect_err("another's proof");
    let joule_committee::PossessionError::NotShown { digest } = here else { panic!("{here}") };
    let g1 = |point: G1| DataCommittee::G1 { x: point.x, y: point.y };
    let key2 = registration.key2;
    let key2 = DataCommittee::G2 {
        xImaginary: key2.x_imaginary,
        xReal: key2.x_real,
        yImaginary: key2.y_imaginary,
        yReal: key2.y_real,
    };
    let call = contract.registerBlsKey(g1(registration.key), key2, g1(registration.possession)).from(thief);
    let there = call.call().await.map(|_| ()).expect_err("another's proof").as_revert_data().expect("a revert");
    assert_eq!(there, Bytes::from(DataCommittee::Certificates_SignatureRefused { digest }.abi_encode()));
}
