use alloy::primitives::{Address, B256, keccak256};
use joule_committee::{CERTIFICATE_TAG_BLS, CertificateStatement, POSSESSION_TAG_BLS, Scheme, Signatures, hash_to_g1};
use joule_contracts::{Availability, BlsAggregate, Probe};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::network::{L1_CHAIN_ID, Network};

#[tokio::test]
async fn digests_and_hashes_to_the_curve_agree_on_random_values() {
    let network = Network::start(1, 1).await;
    let probe = network.probe().await;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..24 {
        let statement = CertificateStatement {
            l1_chain_id: L1_CHAIN_ID,
            rollup: Address::new(random.random()),
            batch_number: random.random(),
            parent_checkpoint: B256::new(random.random()),
            checkpoint: B256::new(random.random()),
            revert_count: random.random(),
            data_bytes: random.random(),
            expiry: random.random(),
            keyset_hash: B256::new(random.random()),
        };
        let data = Probe::DataStatement {
            number: statement.batch_number,
            parentCheckpoint: statement.parent_checkpoint,
            checkpoint: statement.checkpoint,
            revertCount: statement.revert_count,
            dataBytes: statement.data_bytes,
        };
        let digest = probe
            .certificateDigest(data, statement.rollup, statement.expiry, statement.keyset_hash)
            .call()
            .await
            .expect("hashes");
        assert_eq!(digest, statement.digest());
        for tag in [keccak256(CERTIFICATE_TAG_BLS), keccak256(POSSESSION_TAG_BLS), B256::new(random.random())] {
            let theirs = probe.hashToG1(tag, digest).call().await.expect("hashes");
            let ours = hash_to_g1(tag, digest).expect("hashes");
            assert_eq!((theirs.x, theirs.y), (ours.x, ours.y));
        }
    }
}

#[tokio::test]
async fn calldata_is_the_bindings() {
    let network = Network::start(5, 2).await;
    for scheme in [Scheme::Ecdsa, Scheme::Bls] {
        let certificate = network.certificate(scheme, 4);
        let (expiry, quorum) = (certificate.statement.expiry, certificate.quorum);
        let availability = match certificate.signatures.clone() {
            Signatures::Ecdsa { keyset, signatures } => {
                let signatures = signatures.into_iter().map(|signature| (signature.r, signature.vs)).collect();
                Availability::Ecdsa { expiry, quorum, keyset, signatures }
            }
            Signatures::Bls { keyset, bitmap, signature, aggregate_key } => {
                let keyset = keyset.into_iter().map(|key| [key.x, key.y]).collect();
                let signature = [signature.x, signature.y];
                let key = aggregate_key;
                let aggregate_key = [key.x_imaginary, key.x_real, key.y_imaginary, key.y_real];
                let aggregate = BlsAggregate { bitmap, signature, aggregate_key };
                Availability::Bls { expiry, quorum, keyset, aggregate }
            }
        };
        assert_eq!(certificate.to_calldata(), availability.encode());
    }
}
