//! The entry points of the fuzzers hold on what a fuzzer tries first.

use proptest::{collection::vec, prelude::*};
use runyard_datamanager::fuzzing;

const GOLDEN: [&[u8]; 7] = [
    include_bytes!("../../golden/batch-v1.bin"),
    include_bytes!("../../golden/data-v1.bin"),
    include_bytes!("../../golden/data-v1-zstd.bin"),
    include_bytes!("../../golden/export-v1.jsonl"),
    include_bytes!("../../golden/floor-v1.bin"),
    include_bytes!("../../golden/format-v1.json"),
    include_bytes!("../../golden/manifest-v1.bin"),
];

proptest! {
    #[test]
    fn no_decoder_breaks_its_promise(
        garbage in vec(any::<u8>(), 0..300),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        start in any::<prop::sample::Index>(),
    ) {
        let mut inputs = vec![garbage];
        for golden in GOLDEN {
            let mut damaged = golden.to_vec();
            for (index, byte) in &mutations {
                let at = index.index(damaged.len());
                damaged[at] = *byte;
            }
            inputs.push(damaged[start.index(damaged.len())..].to_vec());
            inputs.push(damaged);
        }
        for bytes in &inputs {
            fuzzing::batch(bytes);
            fuzzing::block(bytes);
            fuzzing::tail(bytes);
            fuzzing::manifest(bytes);
            fuzzing::format(bytes);
            fuzzing::floor(bytes);
            fuzzing::export(bytes);
        }
    }
}
