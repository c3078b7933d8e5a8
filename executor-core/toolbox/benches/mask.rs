//! How fast is output masked?
//!
//! Lines of 100 bytes, in pieces as a supervisor reads them and one by one, with 50 secrets and with a private key, beside
//! the copy that a spool makes anyway (the floor).
//!
//! `cargo bench --package runyard-toolbox --bench mask`
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::{hint::black_box, time::Instant};

use runyard_toolbox::Masker;

const LINES: usize = 1_000_000;
const LINE: &[u8; 100] =
    b"2026-01-01T00:00:00Z   Compiling some-crate v1.2.3 (/home/ci/project/crates/some) with features x, \n";
const READ: usize = 64 << 10;

fn main() {
    let output: Vec<u8> = std::iter::repeat_n(LINE, LINES).flatten().copied().collect();
    let tokens: Vec<String> = (0..50)
        .map(|n: u32| format!("ghp_{:08x}{:08x}", n.wrapping_mul(2_654_435_761), n.wrapping_mul(40_503)))
        .collect();
    let key: String = (0..27).map(|n: u32| format!("{:064x}\n", u128::from(n) * 0x9E37_79B9_7F4A_7C15)).collect();
    for (name, secrets) in [("50 secrets", tokens), ("a private key", vec![key])] {
        let began = Instant::now();
        let masker = Masker::new(&secrets);
        println!("{name}: made in {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
        drop(masker);
        for (how, size) in [("in pieces of 64 KiB", READ), ("line by line", LINE.len())] {
            let mut masker = Masker::new(&secrets);
            let floor = seconds(|| output.chunks(size).for_each(|piece| drop(black_box(piece.to_vec()))));
            let masked = seconds(|| output.chunks(size).for_each(|piece| drop(black_box(masker.pass(piece).to_vec()))));
            let rate = LINES as f64 / masked / 1e6;
            println!("  {how}: {rate:.1} million lines/s, {:.1} times the copy alone", masked / floor);
        }
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}
