//! Batch data from anywhere: whatever decodes encodes to the same bytes, and nothing panics.

mod strategies;

use joule_protocol::{
    Account, Accumulator, Address, Amount, CallKind, Channel, ChannelStatus, Chunk, ChunkError, ChunkTransaction,
    ChunkWrite, ChunkWriter, Device, DeviceStatus, Digest, Genesis, Hash, Hashing, Job, JobStatus, Key, Message,
    Native, Object, ObjectError, Rejection, chunk_bytes_of, gas_of,
    limits::{
        AMOUNT_MAX, BLOCK_GAS_MAX, BLOCK_OBJECTS_MAX, BLOCK_PRIORITY_MAX, BLOCK_SIGNATURES_MAX, BLOCK_TRANSACTIONS_MAX,
        BLOCK_WITHDRAWALS_MAX, CHUNK_BYTES_MAX,
    },
    signatures_of,
};
use proptest::{collection::vec, prelude::*};
use strategies::{address, amount, digest, entry, hash};

/// What a chunk says, without the hashes that follow from it.
#[derive(Clone, Debug, Default)]
struct Content {
    head: [u64; 3],
    request_outcomes: Vec<u32>,
    transactions: Vec<(ChunkTransaction, u32)>,
    messages: Vec<Message>,
    writes: Vec<ChunkWrite>,
    state_root: Digest,
}

impl Content {
    fn of(chunk: &Chunk) -> Self {
        Self {
            head: [chunk.number, chunk.timestamp, chunk.base_fee],
            request_outcomes: chunk.request_outcomes.clone(),
            transactions: chunk.transactions.clone(),
            messages: chunk.messages.clone(),
            writes: chunk.writes.clone(),
            state_root: chunk.state_root,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = ChunkWriter::new(self.head[0], self.head[1], self.head[2], 0);
        self.transactions.iter().for_each(|(transaction, _)| writer.transaction(transaction));
        writer.end_section::<Native>();
        let outcomes = self.transactions.iter().map(|(_, outcome)| outcome);
        self.request_outcomes.iter().chain(outcomes).for_each(|&outcome| writer.outcome(outcome));
        writer.end_section::<Native>();
        self.messages.iter().for_each(|message| writer.message(message));
        self.writes.iter().for_each(|write| writer.write(&write.key, &write.object));
        let counts = [self.request_outcomes.len(), self.transactions.len(), self.messages.len(), self.writes.len()];
        let [requests, transactions, messages, writes] = counts.map(|count| count as u32);
        writer.finish(requests, transactions, messages, writes, &self.state_root).bytes().to_vec()
    }
}

fn outcome() -> impl Strategy<Value = u32> {
    let codes: Vec<u32> = Rejection::ALL.iter().map(|&(code, _)| code).collect();
    prop_oneof![Just(0), prop::sample::select(codes)]
}

fn content() -> impl Strategy<Value = Content> {
    let transaction = (hash(), address(), outcome())
        .prop_map(|(signing_hash, sender, outcome)| (ChunkTransaction { signing_hash, sender }, outcome));
    let message = (address(), amount()).prop_map(|(recipient, amount)| Message { recipient, amount });
    let writes = vec(entry(), 0..12).prop_map(|mut entries| {
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
        entries.into_iter().map(|(key, object)| ChunkWrite { key, object }).collect()
    });
    (any::<[u64; 3]>(), vec(outcome(), 0..6), vec(transaction, 0..6), vec(message, 0..6), writes, digest()).prop_map(
        |(head, request_outcomes, transactions, messages, writes, state_root)| Content {
            head,
            request_outcomes,
            transactions,
            messages,
            writes,
            state_root,
        },
    )
}

/// A small chunk with two accounts, so that tests know where its bytes are.
fn small() -> Content {
    let transaction = ChunkTransaction { signing_hash: Hash([3; 32]), sender: Address([4; 20]) };
    let write = |byte, balance| ChunkWrite {
        key: Key::account(&Address([byte; 20])),
        object: Object::Account(Account { nonce: 1, balance }),
    };
    Content {
        head: [1, 2, 3],
        request_outcomes: vec![0],
        transactions: vec![(transaction, 5)],
        messages: vec![Message { recipient: Address([6; 20]), amount: 7 }],
        writes: vec![write(1, 10), write(2, 20)],
        state_root: Digest::new([8; 4]).unwrap(),
    }
}

/// Where the counts are, and in `small` the outcomes and writes.
const COUNTS: usize = 28;
const OUTCOMES: usize = 44 + 52;
const WRITES: usize = OUTCOMES + 8 + 36;
const ACCOUNT_BYTES: usize = 48;

fn error(bytes: &[u8]) -> ChunkError {
    let error = Chunk::decode::<Native>(bytes).expect_err("these bytes are no batch data");
    assert!(!error.to_string().is_empty());
    error
}

fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chunks_round_trip(content in content()) {
        let bytes = content.encode();
        let chunk = Chunk::decode::<Native>(&bytes).expect("our own encoding");
        prop_assert_eq!([chunk.number, chunk.timestamp, chunk.base_fee], content.head);
        prop_assert_eq!(&chunk.request_outcomes, &content.request_outcomes);
        prop_assert_eq!(&chunk.transactions, &content.transactions);
        prop_assert_eq!(&chunk.messages, &content.messages);
        prop_assert_eq!(&chunk.writes, &content.writes);
        prop_assert_eq!(chunk.state_root, content.state_root);
        let transactions_end = 44 + 52 * content.transactions.len();
        let outcomes_end = transactions_end + 4 * (content.request_outcomes.len() + content.transactions.len());
        prop_assert_eq!(chunk.transactions_root, Native::keccak256(&bytes[44..transactions_end]));
        prop_assert_eq!(chunk.receipts_root, Native::keccak256(&bytes[transactions_end..outcomes_end]));
        let header = chunk.header(Hash([9; 32]));
        prop_assert_eq!((header.parent, header.number), (Hash([9; 32]), content.head[0]));
        prop_assert_eq!((header.transactions_root, header.receipts_root), (chunk.transactions_root, chunk.receipts_root));
        prop_assert_eq!(Content::of(&chunk).encode(), bytes);
    }

    #[test]
    fn every_truncation_is_one(content in content()) {
        let bytes = content.encode();
        for length in 0..bytes.len() {
            prop_assert!(matches!(error(&bytes[..length]), ChunkError::Truncated(_)));
        }
        prop_assert_eq!(error(&[&bytes[..], &[0]].concat()), ChunkError::Trailing { got: 1 });
    }

    /// Whatever decodes is the only way to write what it decodes to.
    #[test]
    fn changed_bytes_decode_to_themselves_or_not_at_all(
        content in content(), at in any::<prop::sample::Index>(), byte in any::<u8>(), change in 0..4_usize,
    ) {
        let mut bytes = content.encode();
        let at = at.index(bytes.len());
        match change {
            0 => bytes[at] = byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        if let Ok(chunk) = Chunk::decode::<Native>(&bytes) {
            prop_assert_eq!(Content::of(&chunk).encode(), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), counts in any::<[u8; 4]>()) {
        let mut head = b"J001".to_vec();
        head.extend_from_slice(&[0; 24]);
        counts.into_iter().for_each(|count| head.extend_from_slice(&[0, 0, 0, count % 4]));
        for bytes in [bytes.clone(), [head, bytes].concat()] {
            if let Ok(chunk) = Chunk::decode::<Native>(&bytes) {
                prop_assert_eq!(Content::of(&chunk).encode(), bytes);
            }
        }
    }

    #[test]
    fn the_accumulator_takes_the_chunk(content in content(), start in hash()) {
        let mut accumulator = Accumulator(start);
        accumulator.absorb::<Native>(&content.encode());
        prop_assert_eq!(accumulator.0, Native::keccak256(&[&start.0[..], &content.encode()].concat()));
    }
}

#[test]
fn a_small_chunk_is_where_the_tests_say() {
    let bytes = small().encode();
    assert_eq!(bytes.len(), WRITES + 2 * ACCOUNT_BYTES + 32);
    assert!(Chunk::decode::<Native>(&bytes).is_ok());
    assert_eq!(&bytes[COUNTS..44], &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(&bytes[OUTCOMES..OUTCOMES + 8], &[0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(&bytes[WRITES..WRITES + 5], &[0, 0, 0, 1, 1]);
}

#[test]
fn other_formats_are_named() {
    assert_eq!(error(&with(&small().encode(), 3, b"2")), ChunkError::UnknownFormat { got: *b"J002" });
    assert_eq!(error(&[0; 100]), ChunkError::UnknownFormat { got: [0; 4] });
}

#[test]
fn counts_are_bounded_before_anything_is_read() {
    let bytes = small().encode();
    let sections = [
        ("requests", BLOCK_PRIORITY_MAX),
        ("transactions", BLOCK_TRANSACTIONS_MAX),
        ("messages", BLOCK_WITHDRAWALS_MAX),
        ("writes", BLOCK_OBJECTS_MAX),
    ];
    for (position, (section, limit)) in sections.into_iter().enumerate() {
        for got in [limit as u32 + 1, u32::MAX] {
            let changed = with(&bytes, COUNTS + 4 * position, &got.to_be_bytes());
            assert_eq!(error(&changed), ChunkError::TooMany { section, got, limit });
        }
        // A count of what is not there.
        for got in [limit as u32, 0, 3] {
            error(&with(&bytes, COUNTS + 4 * position, &got.to_be_bytes()));
        }
    }
}

/// Block data of so many calls of one kind, each with objects of its own: what `chunk_bytes_of` adds up.
fn calls(kind: CallKind, count: u64) -> Content {
    let address = |label: u8, call: u64| {
        let mut address = Address([label; 20]);
        address.0[12..].copy_from_slice(&call.to_be_bytes());
        address
    };
    let mut content = Content { transactions: Vec::new(), ..Content::default() };
    for call in 0..count {
        content.transactions.push((ChunkTransaction { signing_hash: Hash::ZERO, sender: address(1, call) }, 0));
        let mut write = |key: Key, object: Object| content.writes.push(ChunkWrite { key, object });
        let mut account = |label| write(Key::account(&address(label, call)), Object::Account(Account::default()));
        account(1);
        let (job, device, channel, accounts) = objects_of(kind);
        (0..accounts).for_each(|label| account(2 + label));
        if device {
            write(Key::device(&address(1, call)), Object::Device(a_device()));
        }
        if job {
            write(Key::job(&address(1, call), 0), Object::Job(a_job()));
        }
        if channel {
            write(Key::channel(&address(1, call), 0), Object::Channel(a_channel()));
        }
        if kind == CallKind::Withdraw {
            content.messages.push(Message { recipient: Address::ZERO, amount: 1 });
        }
    }
    content.writes.sort_by_key(|write| write.key);
    content
}

/// Whether a call of a kind can change a job, a device, a channel, and how many accounts beside its sender's.
fn objects_of(kind: CallKind) -> (bool, bool, bool, u8) {
    match kind {
        CallKind::Transfer => (false, false, false, 1),
        CallKind::PostJob | CallKind::CancelJob => (true, false, false, 0),
        CallKind::ClaimJob | CallKind::ReleaseJob => (true, true, false, 0),
        CallKind::SettleJob => (true, true, false, 2),
        CallKind::ExpireJob => (true, true, false, 1),
        CallKind::RegisterDevice | CallKind::AddStake | CallKind::RetireDevice | CallKind::WithdrawStake => {
            (false, true, false, 0)
        }
        CallKind::OpenChannel | CallKind::TopUpChannel | CallKind::CloseChannel | CallKind::CloseChannelTogether => {
            (false, false, true, 0)
        }
        CallKind::RedeemVoucher | CallKind::FinaliseChannel => (false, false, true, 1),
        CallKind::Withdraw | CallKind::Unknown => (false, false, false, 0),
    }
}

fn a_job() -> Job {
    Job {
        status: JobStatus::Open,
        minimum_tier: 0,
        is_device_named: false,
        device: Address::ZERO,
        model: Hash::ZERO,
        input_hash: Hash::ZERO,
        unit_price: 1,
        unit_limit: 1,
        escrow: 1,
        bond: 0,
        deadline: 1,
        receipt_digest: Hash::ZERO,
        units_paid: 0,
    }
}

fn a_device() -> Device {
    Device {
        owner: Address::ZERO,
        payout: Address::ZERO,
        stake: 0,
        bonded: 0,
        class: 0,
        tier: 0,
        tier_expiry: 0,
        units_served: 0,
        status: DeviceStatus::Active,
    }
}

fn a_channel() -> Channel {
    Channel { payee: Address::ZERO, deposit: 0, paid: 0, closing_time: 0, status: ChannelStatus::Open }
}

fn a_genesis() -> Genesis {
    Genesis {
        chain_id: 1,
        l1_chain_id: 2,
        base_token: Address::ZERO,
        fee_recipient: Address([1; 20]),
        base_fee_max: 1,
        grace_seconds: 1,
        channel_close_seconds: 1,
        timestamp: 1,
        salt: Hash::ZERO,
    }
}

/// What a call adds to a chunk is what `chunk_bytes_of` says, byte for byte.
#[test]
fn calls_add_the_bytes_that_are_counted_for_them() {
    let head = calls(CallKind::Transfer, 0).encode().len() as u64;
    for &kind in CallKind::ALL {
        for count in [1, 7] {
            let bytes = calls(kind, count).encode();
            assert_eq!(bytes.len() as u64 - head, count * chunk_bytes_of(kind), "{kind:?}");
            assert!(Chunk::decode::<Native>(&bytes).is_ok(), "{kind:?}");
        }
    }
}

/// The limit is what the worst calls make of a block's gas, with the chain object and the fee recipient beside them: neither the limit nor its arithmetic is loose.
#[test]
fn the_largest_chunk_fits() {
    let mut largest = 0;
    for &kind in CallKind::ALL {
        let signed = BLOCK_SIGNATURES_MAX / signatures_of(kind);
        let mut content = calls(kind, (BLOCK_GAS_MAX / gas_of(kind)).min(signed as u64));
        let fees = ChunkWrite { key: Key::account(&Address::ZERO), object: Object::Account(Account::default()) };
        content.writes.insert(0, fees);
        content.writes.push(ChunkWrite { key: Key::CHAIN, object: Object::Chain(a_genesis().chain::<Native>()) });
        let bytes = content.encode();
        assert!(bytes.len() <= CHUNK_BYTES_MAX, "{kind:?}: {} bytes", bytes.len());
        assert!(Chunk::decode::<Native>(&bytes).is_ok(), "{kind:?}");
        largest = largest.max(bytes.len());
    }
    assert!(CHUNK_BYTES_MAX - largest < 500, "less than one call is missing: {largest} of {CHUNK_BYTES_MAX}");
    let long = vec![0; CHUNK_BYTES_MAX + 1];
    assert_eq!(error(&long), ChunkError::TooLong { got: CHUNK_BYTES_MAX + 1 });
}

#[test]
fn writes_rise_strictly() {
    let content = small();
    let key = |position: usize| content.writes[position].key;
    let mut swapped = content.clone();
    swapped.writes.swap(0, 1);
    assert_eq!(error(&swapped.encode()), ChunkError::WritesOutOfOrder { key: key(0) });
    let mut twice = content.clone();
    twice.writes[1] = twice.writes[0];
    assert_eq!(error(&twice.encode()), ChunkError::WritesOutOfOrder { key: key(0) });
}

#[test]
fn outcomes_are_known() {
    let bytes = small().encode();
    for at in [OUTCOMES, OUTCOMES + 4] {
        for got in [12_u32, 1_000, u32::MAX] {
            let changed = with(&bytes, at, &got.to_be_bytes());
            assert!(matches!(error(&changed), ChunkError::Outcome(unknown) if unknown.got == got));
        }
    }
}

#[test]
fn a_root_is_canonical() {
    let bytes = small().encode();
    let root = bytes.len() - 32;
    for word in 0..4 {
        for value in [joule_protocol::GOLDILOCKS, u64::MAX] {
            let changed = with(&bytes, root + 8 * word, &value.to_be_bytes());
            assert!(matches!(error(&changed), ChunkError::Root(wrong) if (wrong.position, wrong.got) == (word, value)));
        }
        let largest = with(&bytes, root + 8 * word, &(joule_protocol::GOLDILOCKS - 1).to_be_bytes());
        assert!(Chunk::decode::<Native>(&largest).is_ok());
    }
}

#[test]
fn writes_are_objects() {
    let bytes = small().encode();
    for got in [0_u32, 6, u32::MAX] {
        let changed = with(&bytes, WRITES, &got.to_be_bytes());
        assert_eq!(error(&changed), ChunkError::Object(ObjectError::UnknownKind { got }));
    }
    let balance = WRITES + 32;
    let changed = with(&bytes, balance, &AMOUNT_MAX.to_be_bytes());
    let too_large = ObjectError::AmountTooLarge { field: "balance", got: AMOUNT_MAX };
    assert_eq!(error(&changed), ChunkError::Object(too_large));
    let largest: Amount = AMOUNT_MAX - 1;
    assert!(Chunk::decode::<Native>(&with(&bytes, balance, &largest.to_be_bytes())).is_ok());
}

/// The chain object lives at the zero address alone; any other would be a second place for it.
#[test]
fn the_chain_object_has_one_key() {
    let chain = Object::Chain(a_genesis().chain::<Native>());
    let content = Content { writes: vec![ChunkWrite { key: Key::CHAIN, object: chain }], ..Content::default() };
    let bytes = content.encode();
    assert!(Chunk::decode::<Native>(&bytes).is_ok());
    for at in 48..68 {
        let changed = with(&bytes, at, &[1]);
        assert!(matches!(error(&changed), ChunkError::Object(ObjectError::OutOfRange { field: "chain address", .. })));
    }
}
