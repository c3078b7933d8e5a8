//! The configuration language from the outside. One test binary, because linking costs more than testing.

mod clone;
mod compile;
mod definitions;
mod diagnostics;
mod schema;
mod spellings;
mod stable;
mod when;
