//! How does what a store holds leave it, and come into another one?
//!
//! As lines of JSON, which other programs can read and write: a header, one line for each entry, and a trailer by which
//! the reader knows that it has them all. Frozen by a golden file.
//!
//! ```text
//! {"format":"runyard-export","version":1,"store":"<id>","position":{"lsn":7,"index":0}}
//! {"collection":"builds","key":"1","value":"{\"done\":true}"}
//! {"collection":"events","key_base64":"AAECAw==","value":"..."}
//! {"counts":{"builds":1,"events":1},"state_hash":"<64 hex digits>"}
//! ```

mod export;
mod import;
pub(crate) mod lines;
mod sort;

pub use import::Imported;
