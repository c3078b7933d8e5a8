//! The process that evaluates one program and ends.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
};

use super::{Language, Program, jsonnet, limits, starlark};

/// The first argument that makes this program evaluate one. Not a command: nobody types it.
pub(super) const WORD: &str = "evaluate-definition";

/// Where recursion ends: what a program can nest costs far less.
const STACK_BYTES: usize = 64 << 20;

/// Evaluates what is on standard input and exits, if this process was started for that. To be called first in `main`.
pub(crate) fn run_if_invoked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next() != Some(OsString::from(WORD)) {
        return;
    }
    // In one line, without a trace of what nobody here has written.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        eprintln!("error: the evaluator met an error of its own: {}", text.unwrap_or("it does not say which"));
    }));
    std::process::exit(match evaluate() {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            1
        }
    });
}

fn evaluate() -> Result<(), String> {
    limits::limit_this_process().map_err(|error| format!("the process cannot be limited: {error}"))?;
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input).map_err(|error| format!("the program cannot be read: {error}"))?;
    let program: Program = serde_json::from_slice(&input).map_err(|error| error.to_string())?;
    // The main thread's stack is as large as whoever started it says.
    let evaluating = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || match program.language {
        Language::Starlark => starlark::evaluate(&program),
        Language::Jsonnet => jsonnet::evaluate(&program),
    });
    let evaluating = evaluating.map_err(|error| format!("no thread can be started: {error}"))?;
    // Of a panic, the hook has said it.
    let json = evaluating.join().map_err(|_| String::new())??;
    io::stdout().write_all(json.as_bytes()).map_err(|error| error.to_string())
}
