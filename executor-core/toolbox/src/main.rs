//! The program `runyard-toolbox`; everything is in the library, so that a host binary can be the toolbox too.

use std::process::ExitCode;

fn main() -> ExitCode {
    runyard_toolbox::main(std::env::args_os().skip(1))
}
