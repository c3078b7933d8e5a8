use proptest::{collection::vec, prelude::*};

use super::*;

fn file(number: u32, first: Bytes, last: Bytes) -> FileMeta {
    FileMeta {
        id: FileId { manifest: 4, writer: 0x1234_5678_9abc_def0, number },
        size: 10 << 20,
        tail: 50_000,
        tail_hash: [number as u8; 32],
        entries: 9_000,
        tombstones: 12,
        first,
        last,
        newest: Position { lsn: 70, index: 3 },
    }
}

fn sample() -> Manifest {
    let runs = CollectionFiles {
        base: vec![file(1, "".into(), "m".into()), file(2, "n".into(), "z".into())],
        deltas: vec![
            DeltaMeta { file: file(4, "a".into(), "y".into()), filter: "\x0a??".into() },
            DeltaMeta { file: file(3, "b".into(), "b".into()), filter: Bytes::new() },
        ],
        folded: Folded {
            steps: vec![("".into(), Position { lsn: 60, index: 0 }), ("k".into(), Position { lsn: 70, index: 3 })],
        },
    };
    Manifest {
        number: 4,
        previous: [9; 32],
        tip: Tip { lsn: 77, hash: [8; 32] },
        position: Position { lsn: 77, index: 5 },
        history: History {
            transactions: 1_234_567,
            marks: [(230_000, Position { lsn: 7, index: 0 }), (240_000, Position { lsn: 8, index: 9 })].into(),
            forgotten: Position { lsn: 6, index: 1 },
        },
        maintenance: Some("moving house".to_owned()),
        collections: [("\0groups".to_owned(), CollectionFiles::default()), ("runs".to_owned(), runs)].into(),
    }
}

#[test]
fn a_manifest_reads_back_as_it_was_written() {
    let (bytes, hash) = encode(&sample());
    assert_eq!(decode(4, &bytes).unwrap(), (sample(), hash));
    assert_eq!(bytes[bytes.len() - HASH_BYTES..], hash);
    assert!(decode(5, &bytes).is_err(), "it is not number 5");
    let empty = Manifest::empty([3; 32]);
    assert_eq!(decode(0, &encode(&empty).0).unwrap().0, empty);
}

#[test]
fn the_format_is_what_it_was() {
    let golden = include_bytes!("../../../golden/manifest-v1.bin");
    assert_eq!(encode(&sample()).0[..], golden[..], "old manifests could not be read any more: add a version instead");
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let (bytes, _) = encode(&sample());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(4, &damaged).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(decode(4, &bytes[..length]).is_err(), "length {length}");
    }
    assert!(decode(4, &[&bytes[..], b"\0"].concat()).is_err());
}

#[test]
fn files_that_overlap_or_end_before_they_begin_are_refused() {
    let with = |base: Vec<FileMeta>| {
        let files = CollectionFiles { base, ..CollectionFiles::default() };
        let manifest = Manifest { collections: [("c".to_owned(), files)].into(), ..sample() };
        decode(4, &encode(&manifest).0).map(drop)
    };
    with(vec![file(1, "a".into(), "b".into()), file(2, "c".into(), "c".into())]).unwrap();
    with(vec![file(1, "a".into(), "b".into()), file(2, "b".into(), "c".into())]).unwrap_err();
    with(vec![file(1, "c".into(), "d".into()), file(2, "a".into(), "b".into())]).unwrap_err();
    with(vec![file(1, "b".into(), "a".into())]).unwrap_err();
}

fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &Sha256::digest(content)].concat()
}

proptest! {
    #[test]
    fn the_decoder_survives_anything_behind_a_good_checksum(
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        garbage in vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(decode(4, &garbage).is_err());
        let (bytes, _) = encode(&sample());
        let mut content = bytes[..bytes.len() - HASH_BYTES].to_vec();
        for (index, byte) in mutations {
            let at = index.index(content.len());
            content[at] = byte;
        }
        if cut.index(4) == 0 {
            content.truncate(cut.index(content.len()));
        }
        let headed = [&content[..16.min(content.len())], &garbage].concat();
        for content in [content, headed] {
            let sealed = sealed(&content);
            if let Ok((manifest, hash)) = decode(4, &sealed) {
                prop_assert_eq!(encode(&manifest), (Bytes::from(sealed), hash), "there is one way to write it");
            }
        }
    }
}
