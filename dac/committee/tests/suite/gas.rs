use alloy::{primitives::Bytes, providers::Provider};
use joule_committee::Scheme;

use super::network::Network;

/// EIP-7623: a token is a zero byte, or a quarter of another; 4 gas each, and 10 at least where little else is done.
fn calldata_gas(input: &Bytes) -> u64 {
    input.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum()
}

/// Verifies in both, with all and with the fewest signers, and prints what it costs.
#[tokio::test]
async fn certificates_verify_on_l1_and_their_gas() {
    println!("| scheme | signers | calldata bytes | transaction gas | of which execution |");
    for (size, honest) in [(1, 1), (5, 2), (16, 2), (16, 6), (64, 22)] {
        let network = Network::start(size, honest).await;
        for scheme in [Scheme::Ecdsa, Scheme::Bls] {
            let keyset = network.keyset(scheme);
            for signers in [keyset.quorum() as usize, size] {
                let certificate = network.certificate_until(network.expiry_min + 86_400, scheme, signers);
                certificate.clone().verify(keyset.hash(), network.expiry_min).expect("verifies here");
                let calldata = certificate.to_calldata();
                let call = network.call(&certificate.statement, calldata.clone());
                let input = call.input.input().expect("calldata").clone();
                let receipt =
                    network.provider.send_transaction(call).await.expect("sends").get_receipt().await.expect("mined");
                assert!(receipt.status(), "verifies on L1");
                let execution = receipt.gas_used - 21_000 - calldata_gas(&input);
                println!(
                    "| {scheme:?} | {signers} of {size} | {} | {} | {execution} |",
                    calldata.len(),
                    receipt.gas_used
                );
            }
        }
    }
}
