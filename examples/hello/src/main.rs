//! Greets whoever is named on the command line.

fn main() {
    let name = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    println!("{}", hello::greeting(&name));
}
