//! How is something printed? So that a reader who has seen enough (`| head`) ends the command quietly.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
};

use super::Failure;

/// Prints a line of the result.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints a result as one line of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value)?)
}

/// Prints a part of the result as it is.
pub(super) fn bytes(part: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(part).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(format!("the result cannot be printed: {error}").into()),
        Ok(()) => Ok(()),
    }
}

/// Tells whoever looks at a service; nobody has to.
pub(super) fn tell(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
