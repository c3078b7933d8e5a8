//! The program `runyard-toolbox`.
fn main() {}
