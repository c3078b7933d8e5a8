use proptest::{collection::vec, prelude::*};

use super::*;
use crate::ReadSet;

const ID: BatchId = BatchId { writer: [0x5a; 16], number: 3 };

fn put(collection: &str, key: &[u8], value: &[u8]) -> Action {
    Action::Put {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
    }
}

fn transaction(groups: &[&str], actions: Vec<Action>) -> Transaction {
    let groups = groups.iter().map(|group| group.to_string()).collect();
    Transaction { reads: ReadSet { groups, ..ReadSet::default() }, actions }
}

fn sample() -> Vec<Transaction> {
    vec![
        transaction(&[], vec![put("runs", b"1", b"{\"state\":\"running\"}"), put("runs.group", b"a\0\x01\x31", b"")]),
        transaction(
            &["run/1", "queue"],
            vec![
                Action::Delete { collection: "runs".into(), key: Bytes::from_static(b"\xff\x00") },
                Action::Append { collection: "events".into(), value: Bytes::from_static(b"first") },
                Action::Append { collection: "events".into(), value: Bytes::from_static(b"second") },
            ],
        ),
        transaction(&["only a group"], vec![]),
    ]
}

fn encode(lsn: u64, transactions: &[Transaction]) -> (Bytes, Hash) {
    let payloads: Vec<_> = transactions.iter().map(encode_payload).collect();
    encode_batch(lsn, ID, &[7; 32], payloads.iter().map(Vec::as_slice))
}

fn placed(lsn: u64, transactions: &[Transaction]) -> Vec<Logged> {
    let place = |(index, transaction): (usize, &Transaction)| {
        let Transaction { reads, actions } = transaction.clone();
        Logged::new(Position { lsn, index: index as u32 }, reads.groups, actions)
    };
    transactions.iter().enumerate().map(place).collect()
}

#[test]
fn a_batch_reads_back_as_it_was_written() {
    let (bytes, hash) = encode(42, &sample());
    let decoded = decode_batch(42, &bytes).unwrap();
    assert_eq!(decoded, DecodedBatch { id: ID, previous: [7; 32], hash, transactions: placed(42, &sample()) });
    let keys: Vec<_> = decoded.transactions[1].committed.changes[1..].iter().map(|change| &change.key[..]).collect();
    let position = Position { lsn: 42, index: 1 };
    assert_eq!(keys, [position.append_key(0), position.append_key(1)]);
}

#[test]
fn the_format_is_what_it_was() {
    let (bytes, _) = encode(42, &sample());
    let golden = include_bytes!("../../golden/batch-v1.bin");
    assert_eq!(bytes[..], golden[..], "old logs could not be read any more: add a version instead");
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let (bytes, _) = encode(42, &sample());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_batch(42, &damaged).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(decode_batch(42, &bytes[..length]).is_err(), "length {length}");
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(decode_batch(42, &longer).is_err());
    assert!(decode_batch(43, &bytes).is_err());
}

/// The transaction that a logged one was made from, as far as it is in the log.
fn unplaced(logged: Logged) -> Transaction {
    let appends = logged.appends;
    let actions = logged.committed.changes.into_iter().enumerate().map(|(index, change)| {
        let Change { collection, key, value } = change;
        match value {
            Some(value) if appends.contains(&index) => Action::Append { collection, value },
            Some(value) => Action::Put { collection, key, value },
            None => Action::Delete { collection, key },
        }
    });
    let actions = actions.collect();
    Transaction { reads: ReadSet { groups: logged.groups, ..ReadSet::default() }, actions }
}

/// Replaces the hash and the checksums, so that the code behind them is reached.
fn seal(mut content: Vec<u8>) -> Vec<u8> {
    content.truncate(content.len().saturating_sub(HASH_BYTES));
    let mut at = HEADER_BYTES;
    while let Some(frame) = content.get(at..at + FRAME_BYTES) {
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let Some(payload) = content.get(at + FRAME_BYTES..).and_then(|rest| rest.get(..length)) else { break };
        let crc = crc32fast::hash(payload).to_le_bytes();
        content[at + 4..at + 8].copy_from_slice(&crc);
        at += FRAME_BYTES + length;
    }
    let hash = Sha256::digest(&content);
    content.extend_from_slice(&hash);
    content
}

fn actions() -> impl Strategy<Value = Vec<Transaction>> {
    let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let action = prop_oneof![
        ("[a-z]{1,8}", bytes(), bytes()).prop_map(|(collection, key, value)| Action::Put { collection, key, value }),
        ("[a-z]{1,8}", bytes()).prop_map(|(collection, key)| Action::Delete { collection, key }),
        ("[a-z]{1,8}", bytes()).prop_map(|(collection, value)| Action::Append { collection, value }),
    ];
    let one = (vec("[a-z/]{0,9}", 0..3), vec(action, 0..6))
        .prop_map(|(groups, actions)| Transaction { reads: ReadSet { groups, ..ReadSet::default() }, actions });
    vec(one, 1..6)
}

proptest! {
    #[test]
    fn any_batch_reads_back(lsn in 1..u64::MAX, transactions in actions()) {
        let (bytes, _) = encode(lsn, &transactions);
        prop_assert_eq!(decode_batch(lsn, &bytes).unwrap().transactions, placed(lsn, &transactions));
        for transaction in &transactions {
            prop_assert!(encode_payload(transaction).len() <= payload_bytes(transaction));
        }
    }

    #[test]
    fn the_decoder_survives_mutated_batches(
        transactions in actions(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (bytes, _) = encode(1, &transactions);
        let mut damaged = bytes.to_vec();
        for (index, byte) in mutations {
            let at = index.index(damaged.len());
            damaged[at] = byte;
        }
        if cut.index(4) == 0 {
            damaged.truncate(cut.index(damaged.len()));
        }
        if damaged != bytes[..] {
            prop_assert!(decode_batch(1, &damaged).is_err());
        }
        // With good checksums the content may be anything at all: whatever is accepted is what is written again.
        let sealed = seal(damaged);
        if let Ok(decoded) = decode_batch(1, &sealed) {
            let payloads: Vec<_> =
                decoded.transactions.into_iter().map(|logged| encode_payload(&unplaced(logged))).collect();
            let again = encode_batch(1, decoded.id, &decoded.previous, payloads.iter().map(Vec::as_slice));
            prop_assert_eq!(&again.0[..], &sealed[..], "there is one way to write a batch");
        }
    }

    #[test]
    fn the_decoder_survives_garbage(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_batch(1, &bytes).is_err());
        let _ = decode_payload(&bytes);
    }
}
