//! Would the simulation notice? It must fail with every step of the protocol that is left out.

use std::ops::Range;

use runyard_datamanager::broken::Broken;

use crate::simulate::simulate_all;

/// How many seeds it may take.
const SEEDS: Range<u64> = 0..2_000;

#[test]
fn every_broken_variant_is_caught() {
    let (mut survivors, mut last) = (Vec::new(), SEEDS.start);
    for broken in Broken::ALL {
        match simulate_all(SEEDS, Some(*broken)) {
            Ok(_) => survivors.push(broken),
            Err((seed, failure)) => {
                println!("{broken:?} is caught by seed {seed}: {}", shorten(&failure));
                last = last.max(seed);
            }
        }
    }
    assert!(survivors.is_empty(), "nothing is wrong with {survivors:?}, says the simulation");
    let whole = simulate_all(SEEDS.start..last + 1, None);
    whole.expect("what is not broken passes the same seeds");
}

fn shorten(failure: &str) -> String {
    failure.chars().take(160).collect()
}
