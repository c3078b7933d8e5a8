//! The run configuration language: how does a repository say what is to be run?
//!
//! A definition goes through three pure steps; nothing here reads a file, a clock or a network.
//!
//! 1. [`discover`] says which file counts, given which exist.
//! 2. [`parse()`] reads it into a [`Definition`](definition::Definition), with every error at once.
//! 3. [`compile()`] makes the [`RunConfig`](runyard_runservice_core::model::RunConfig)s for one commit.
//!
//! ```
//! use runyard_runconfig::{CompileContext, Format, compile, parse};
//! use runyard_runservice_core::model::GroupPath;
//!
//! let text = "
//! runs:
//!   - name: build
//!     tasks:
//!       - name: test
//!         runtime:
//!           containers:
//!             - image: rust:1.90
//!         steps:
//!           - clone:
//!           - run: cargo test
//! ";
//! let (definition, warnings) = parse(".runyard/config.yml", Format::Yaml, text).into_result().expect("no errors");
//! assert!(warnings.is_empty());
//!
//! let mut context = CompileContext::new(GroupPath::new("project", "42")?.child("branch", "main")?);
//! context.branch = "main".into();
//! context.git_ref = "refs/heads/main".into();
//! let compiled = compile(&definition, &context).expect("a sound graph");
//! let task = compiled.runs[0].tasks.values().next().expect("one task");
//! assert_eq!(task.steps.0[1].name(), "cargo test");
//! # Ok::<(), runyard_runservice_core::model::InvalidGroup>(())
//! ```
//!
//! An error becomes a run that shows it, made by [`setup_error_run`].
//!
//! Kept in the definition for the host application: `schedule`, which a run config cannot carry. The languages that have to be
//! evaluated, Starlark and Jsonnet, are found by [`discover`] and refused by [`parse()`]; whatever evaluates them hands
//! its result to [`parse_node`], or as JSON to [`parse()`].

mod clone;
mod compile;
mod cron;
pub mod definition;
mod diagnostic;
mod discover;
mod duration;
mod go_regex;
mod node;
mod parse;
mod quantity;
mod schema;
mod skip;
mod suggest;
mod variables;
mod when;
mod yaml;

pub use clone::clone_step;
pub use compile::{APPROVERS_ANNOTATION, CompileContext, Compiled, compile, setup_error_run};
pub use diagnostic::{Diagnostic, Severity};
pub use discover::{CANDIDATES, Candidate, Discovered, Format, discover, not_found};
pub use duration::parse_duration;
pub use node::{Key, Node, NodeKind, Position, Scalar, ScalarKind};
pub use parse::{Parsed, parse, parse_node};
pub use quantity::{parse_milli_quantity, parse_quantity};
pub use schema::schema;
pub use skip::{CI_SKIP, asks_to_skip};
pub use suggest::nearest;
pub use when::{Conditions, Pattern, RefNames, RefType, When, when_matches};
pub use yaml::{DEPTH_MAX, INPUT_BYTES_MAX, Tree, parse_tree};
