//! Chapters of the book that are made from code. `UPDATE_BOOK=1 cargo test -p joule-kernel --test book` writes them anew.

use std::{fmt::Write as _, fs, path::Path};

use joule_protocol::{BLOCK_COST, CallKind, ProvingCost, Rejection, chunk_bytes_of, gas_of, limits, proving_cost_of};

fn holds_fresh(chapter: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src").join(chapter);
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, expected).expect("the book can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{chapter} is stale: run UPDATE_BOOK=1 cargo test -p joule-kernel --test book");
}

#[test]
fn outcomes_are_fresh() {
    let mut text = String::from(
        "# Outcomes\n\nMade from `circuits/protocol/src/errors.rs`. An outcome in the batch data is 0 (applied) or one of these codes. \
         Wallets see a rejection as the Solidity custom error of its name (`contracts/src/l2/IRejections.sol`), and `eth_call` and \
         `eth_estimateGas` show it before anybody pays for it.\n\n| code | rejection | says |\n|---|---|---|\n",
    );
    for error in Rejection::CUSTOM_ERRORS {
        writeln!(text, "| {} | `{}` | {} |", error.code, error.name, error.sentence.replace('|', "\\|"))
            .expect("a string takes text");
    }
    holds_fresh("outcomes.md", &text);
}

#[test]
fn limits_are_fresh() {
    macro_rules! values {
        ($($name:ident),* $(,)?) => { [$( (stringify!($name), u128::try_from(limits::$name).expect("not negative")) ),*] };
    }
    let values = values![
        AMOUNT_MAX,
        TREE_DEPTH,
        LEAVES_MAX,
        TRANSACTION_BYTES_MAX,
        PRIORITY_DATA_BYTES_MAX,
        BLOCK_GAS_MAX,
        BLOCK_BYTES_MAX,
        BLOCK_SIGNATURES_MAX,
        BLOCK_TRANSACTIONS_MAX,
        BLOCK_PRIORITY_MAX,
        BLOCK_WITHDRAWALS_MAX,
        BLOCK_OBJECTS_MAX,
        CHUNK_BYTES_MAX,
        L1_TRANSACTION_BYTES_MAX,
        L1_TRANSACTION_GAS_MAX,
        POST_DATA_BYTES_MAX,
        BATCH_WITHDRAWALS_MAX,
        SEGMENT_BLOCKS_MAX,
        CHAIN_ID_MAX,
        JOB_DEADLINE_SECONDS_MAX,
        DELAY_SECONDS_MAX,
    ];
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/src/limits.rs")).expect("limits.rs");
    let mut text = String::from(
        "# Limits\n\nMade from `circuits/protocol/src/limits.rs` and `gas.rs`.\n\n| limit | value | why |\n|---|---|---|\n",
    );
    let (mut why, mut rows) = (String::new(), 0);
    for line in source.lines() {
        if let Some(comment) = line.strip_prefix("///") {
            why += comment;
        } else if let Some(declaration) = line.strip_prefix("pub const ") {
            let name = declaration.split(':').next().expect("a constant has a name");
            let (_, value) = values.iter().find(|(known, _)| *known == name).expect("every limit is in the list above");
            writeln!(text, "| `{name}` | {value} |{why} |").expect("a string takes text");
            rows += 1;
            why.clear();
        }
    }
    assert_eq!(rows, values.len(), "the list above names what limits.rs no longer has");
    text += "\n## Gas and bytes\n\nGas is fixed per call and proportional to what the call costs to prove. Bytes are the most that the call adds to its block's data.\n\n\
             | call | gas | bytes |\n|---|---:|---:|\n";
    for &kind in CallKind::ALL {
        writeln!(text, "| `{kind:?}` | {} | {} |", gas_of(kind), chunk_bytes_of(kind)).expect("a string takes text");
    }
    holds_fresh("limits.md", &text);
}

#[test]
fn costs_are_fresh() {
    let mut text = String::from(
        "# What proving costs\n\nMade from `circuits/protocol/src/cost.rs`. What a call adds to its block at its worst: it shares no object with another call, and every account that it pays is \
         new. `circuits/machine/tests/costs.rs` runs a full block of each kind on the machine and holds these numbers to it: never exceeded, and cycles within three percent. Mixed payments \
         on shared objects take about a third less; `joule-prover trace --payments 64 --json` prints theirs by kind and by routine.\n\n\
         | | cycles | keccak-f | Poseidon2 permutations | tree updates | signatures |\n|---|---:|---:|---:|---:|---:|\n",
    );
    let rows = CallKind::ALL.iter().map(|&kind| (format!("`{kind:?}`"), proving_cost_of(kind)));
    for (name, cost) in rows.chain([("a block beside its calls".to_owned(), BLOCK_COST)]) {
        let ProvingCost { cycles, keccaks, permutations, tree_updates, signatures } = cost;
        writeln!(text, "| {name} | {cycles} | {keccaks} | {permutations} | {tree_updates} | {signatures} |")
            .expect("a string takes text");
    }
    holds_fresh("costs.md", &text);
}
