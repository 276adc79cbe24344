use std::sync::OnceLock;

use ark_bn254::{Fr, G1Affine, G2Affine};
use proptest::prelude::*;

use super::*;
use crate::{
    bls::{BlsPublicKey, BlsRegistration, PossessionError},
    fixtures::{account, bls_key, context, keyset, member, other_subject, share, statement},
    keyset::Member,
    wire::testing::is_strict,
};

const SCHEMES: [Scheme; 2] = [Scheme::Ecdsa, Scheme::Bls];

/// All six members' shares, four of whom make a quorum; made once because pairings are what these tests spend their time on.
fn six(scheme: Scheme) -> &'static (Keyset, CertificateStatement, Vec<VerifiedShare>) {
    static SIX: [OnceLock<(Keyset, CertificateStatement, Vec<VerifiedShare>)>; 2] = [OnceLock::new(), OnceLock::new()];
    SIX[scheme as usize - 1].get_or_init(|| {
        let keyset = keyset(scheme, 6, 3);
        let statement = statement(keyset.hash());
        let shares = (0..6).map(|i| share(&keyset, i, &statement).verify(&keyset).expect("verifies")).collect();
        (keyset, statement, shares)
    })
}

fn certificate(scheme: Scheme, signers: &[usize]) -> Certificate {
    let (keyset, statement, shares) = six(scheme);
    let shares: Vec<_> = signers.iter().map(|i| shares[*i]).collect();
    Certificate::aggregate(keyset, statement, &shares).expect("aggregates")
}

fn verdict(certificate: Certificate) -> Result<VerifiedCertificate, CertificateError> {
    let (keyset, statement, _) = six(certificate.scheme());
    certificate.verify(keyset.hash(), statement.expiry)
}

#[test]
fn any_quorum_makes_a_certificate() {
    for scheme in SCHEMES {
        let (keyset, statement, shares) = six(scheme);
        for signers in 0u32..64 {
            let mut chosen: Vec<_> = (0..6).filter(|i| signers >> i & 1 == 1).map(|i| shares[i]).collect();
            // Shares come in no order.
            chosen.reverse();
            let made = Certificate::aggregate(keyset, statement, &chosen);
            if signers.count_ones() < 4 {
                let got = chosen.len();
                assert_eq!(made, Err(AggregateError::QuorumMissed { quorum: 4, got }));
            } else {
                verdict(made.expect("aggregates")).expect("verifies");
            }
        }
    }
}

#[test]
fn shares_that_do_not_belong_together_are_refused() {
    for scheme in SCHEMES {
        let (keyset, statement, shares) = six(scheme);
        let twice = [shares[0], shares[1], shares[1], shares[2]];
        assert_eq!(Certificate::aggregate(keyset, statement, &twice), Err(AggregateError::Twice { position: 1 }));
        let other = share(keyset, 3, &other_subject(statement)).verify(keyset).expect("verifies");
        let mixed = [shares[0], shares[1], shares[2], other];
        assert!(matches!(
            Certificate::aggregate(keyset, statement, &mixed),
            Err(AggregateError::MixedStatements { .. })
        ));
        let elsewhere = CertificateStatement { keyset_hash: B256::ZERO, ..*statement };
        assert!(matches!(Certificate::aggregate(keyset, &elsewhere, shares), Err(AggregateError::WrongKeyset { .. })));
    }
}

#[test]
fn what_is_claimed_beyond_the_signatures_is_refused() {
    for scheme in SCHEMES {
        let honest = certificate(scheme, &[0, 2, 3, 5]);
        let (keyset, statement, _) = six(scheme);
        let lower = Certificate { quorum: 1, ..honest.clone() };
        assert!(matches!(verdict(lower), Err(CertificateError::UnknownKeyset { .. })));
        let late = honest.clone().verify(keyset.hash(), statement.expiry + 1);
        let got = statement.expiry;
        assert_eq!(late, Err(CertificateError::ExpiresTooSoon { expiry_min: got + 1, got }));
        let mut unstated = honest.clone();
        unstated.statement.keyset_hash = B256::ZERO;
        assert!(matches!(verdict(unstated), Err(CertificateError::KeysetNotStated { .. })));
        let other = Certificate { statement: other_subject(statement), ..honest };
        assert!(verdict(other).is_err());
    }
}

#[test]
fn a_rogue_key_signs_for_all_and_possession_keeps_it_out() {
    // The last of four members brings x·g minus the others' keys: the sum of all four is x·g, under which it signs alone.
    let x = Fr::from(0xbad_u64);
    let mut members: Vec<Member> = (0..3).map(member).collect();
    let others = members.iter().filter_map(|member| member.bls);
    let (mut g1, mut g2) = (G1Affine::generator() * x, G2Affine::generator() * x);
    for key in others {
        g1 -= key.g1;
        g2 -= key.g2;
    }
    let rogue = BlsPublicKey { g1: g1.into_affine(), g2: g2.into_affine() };
    let attacker = account(3);

    // Let in without proof, it makes a certificate that verifies: the attack is real.
    members.push(Member { account: attacker, signer: Address::ZERO, bls: Some(rogue) });
    members.sort_by_key(|member| member.account);
    let keyset = Keyset::new(Scheme::Bls, members, 1).expect("a keyset");
    let statement = statement(keyset.hash());
    let hashed = hash_certificate(statement.digest()).expect("hashes");
    let forged = Certificate {
        statement,
        quorum: keyset.quorum(),
        signatures: Signatures::Bls {
            keyset: keyset.members().iter().filter_map(|member| member.bls).map(|key| key.g1()).collect(),
            bitmap: U256::from(0b1111),
            signature: G1::new(&(hashed * x).into_affine()),
            aggregate_key: G2::new(&(G2Affine::generator() * x).into_affine()),
        },
    };
    forged.verify(keyset.hash(), 0).expect("four signers, it seems, and three of them never signed");

    // But nothing the attacker can compute shows possession: not x's signature, not another member's proof.
    let context = context();
    let with_x = crate::bls::BlsSecretKey::from_bytes(&B256::from(U256::from(0xbad)).0).expect("a key");
    let made_by_x = with_x.register(&context, attacker).expect("a proof").possession;
    let anothers = bls_key(0).register(&context, account(0)).expect("a proof").possession;
    for possession in [made_by_x, anothers, G1::INFINITY] {
        let registration = BlsRegistration { key: rogue.g1(), key2: rogue.g2(), possession };
        assert!(matches!(registration.check(&context, attacker), Err(PossessionError::NotShown { .. })));
    }
}

#[test]
fn signers_keys_at_infinity_are_refused() {
    // Two keys that cancel out. Possession cannot exclude this: one person may own both.
    let one = bls_key(1).public_key();
    let minus = BlsPublicKey { g1: -one.g1, g2: -one.g2 };
    let mut members = vec![
        Member { account: account(0), signer: Address::ZERO, bls: Some(one) },
        Member { account: account(1), signer: Address::ZERO, bls: Some(minus) },
    ];
    members.sort_by_key(|member| member.account);
    let keyset = Keyset::new(Scheme::Bls, members, 1).expect("a keyset");
    let certificate = Certificate {
        statement: statement(keyset.hash()),
        quorum: 2,
        signatures: Signatures::Bls {
            keyset: keyset.members().iter().filter_map(|member| member.bls).map(|key| key.g1()).collect(),
            bitmap: U256::from(0b11),
            signature: G1::INFINITY,
            aggregate_key: G2::INFINITY,
        },
    };
    assert_eq!(certificate.verify(keyset.hash(), 0), Err(CertificateError::KeyAtInfinity));
}

#[test]
fn encodings_are_strict() {
    for scheme in SCHEMES {
        let honest = certificate(scheme, &[1, 2, 3, 4, 5]);
        is_strict(&honest.encode(), Certificate::decode, Certificate::encode);

        let calldata = honest.to_calldata();
        assert!(calldata.len() <= CALLDATA_BYTES_MAX);
        let blank = CertificateStatement { expiry: 0, keyset_hash: B256::ZERO, ..honest.statement };
        assert_eq!(Certificate::from_calldata(&blank, &calldata), Ok(honest.clone()));
        for length in 0..calldata.len() {
            assert!(Certificate::from_calldata(&blank, &calldata[..length]).is_err(), "cut to {length} bytes");
        }
        let longer = [&calldata[..], &[0; 32]].concat();
        assert!(Certificate::from_calldata(&blank, &longer).is_err());
    }
    let blank = statement(B256::ZERO);
    assert_eq!(Certificate::from_calldata(&blank, &[]), Err(CalldataError::UnknownScheme { got: 0 }));
    assert_eq!(Certificate::from_calldata(&blank, &[3]), Err(CalldataError::UnknownScheme { got: 3 }));
    let got = CALLDATA_BYTES_MAX + 1;
    let most = CALLDATA_BYTES_MAX;
    assert_eq!(Certificate::from_calldata(&blank, &vec![1; got]), Err(CalldataError::TooLong { most, got }));
}

#[test]
fn the_largest_certificates_fit() {
    for scheme in SCHEMES {
        let keys = MEMBERS_MAX;
        let signatures = match scheme {
            Scheme::Ecdsa => Signatures::Ecdsa {
                keyset: vec![Address::ZERO; keys],
                signatures: vec![CompactSignature { r: B256::ZERO, vs: B256::ZERO }; keys],
            },
            Scheme::Bls => Signatures::Bls {
                keyset: vec![G1::INFINITY; keys],
                bitmap: U256::from(u64::MAX),
                signature: G1::INFINITY,
                aggregate_key: G2::INFINITY,
            },
        };
        let largest = Certificate { statement: statement(B256::ZERO), quorum: 64, signatures };
        assert!(largest.to_calldata().len() <= CALLDATA_BYTES_MAX);
        if scheme == Scheme::Ecdsa {
            assert_eq!(largest.to_calldata().len(), CALLDATA_BYTES_MAX);
        }
        assert_eq!(Certificate::decode(&largest.encode()), Ok(largest));
    }
}

#[test]
fn counts_and_bits_are_bounded() {
    let bytes = certificate(Scheme::Ecdsa, &[0, 1, 2, 3]).encode();
    let at = 2 + CertificateStatement::BYTES + 4;
    for got in [0u32, 65, u32::MAX] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&got.to_be_bytes());
        let expected = WireError::CountOutOfRange { what: "members", least: 1, most: MEMBERS_MAX, got: got as usize };
        assert_eq!(Certificate::decode(&bytes), Err(expected));
    }
    let mut bls = certificate(Scheme::Bls, &[0, 1, 2, 3]);
    if let Signatures::Bls { bitmap, .. } = &mut bls.signatures {
        bitmap.set_bit(6, true);
    }
    assert!(matches!(Certificate::decode(&bls.encode()), Err(WireError::UnknownBits { members: 6, .. })));
}

proptest! {
    #[test]
    fn what_decodes_is_the_only_encoding(mut bytes in prop::collection::vec(any::<u8>(), 0..600), scheme in 1u8..3, members in 0u8..4) {
        let count = 2 + CertificateStatement::BYTES + 4;
        if bytes.len() > count + 4 {
            bytes[..2].copy_from_slice(&[VERSION, scheme]);
            bytes[count..count + 4].copy_from_slice(&[0, 0, 0, members]);
        }
        if let Ok(certificate) = Certificate::decode(&bytes) {
            prop_assert_eq!(certificate.encode(), bytes);
        }
    }

    #[test]
    fn random_calldata_never_panics(scheme in 0u8..4, words in prop::collection::vec((any::<bool>(), any::<u8>(), any::<[u8; 32]>()), 0..40)) {
        let mut bytes = vec![scheme];
        for (is_small, small, random) in words {
            bytes.extend(if is_small { U256::from(small).to_be_bytes() } else { random });
        }
        if let Ok(certificate) = Certificate::from_calldata(&statement(B256::ZERO), &bytes) {
            prop_assert_eq!(certificate.to_calldata(), Bytes::from(bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_changed_bit_is_noticed(scheme in prop::sample::select(&SCHEMES), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = certificate(scheme, &[0, 1, 4, 5]).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = Certificate::decode(&bytes) {
            prop_assert!(verdict(changed).is_err());
        }
    }
}
