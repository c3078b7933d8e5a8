//! What does a directory define, and what is wrong with it? Without running any of it.

use std::path::Path;

use runyard_runconfig::{CompileContext, Diagnostic, RefType, compile};
use runyard_runservice_core::model::RunConfig;

use super::{
    definition::{self, DefinitionError},
    git::Git,
};
use crate::evaluate::Ctx;

/// The reference that a definition is read for.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// The branch that is checked out, or `main` where there is none.
    Current,
    Branch(String),
    Tag(String),
    PullRequest(String),
}

/// What is defined for a reference.
#[derive(Debug)]
pub(crate) struct Defined {
    pub(crate) runs: Vec<RunConfig>,
    /// Whatever is to be said, in the order of the file.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads and compiles the definition of a directory. What is wrong with it is among the diagnostics.
///
/// # Errors
/// If there is no definition, or it cannot be read.
pub(crate) async fn read(dir: &Path, reference: &Reference) -> Result<Defined, DefinitionError> {
    let nothing = |diagnostics| Ok(Defined { runs: Vec::new(), diagnostics });
    let found = match definition::find(dir) {
        Err(DefinitionError::Diagnostics(diagnostics)) => return nothing(diagnostics),
        found => found?,
    };
    let context = context(dir, reference).await;
    let (definition, mut diagnostics) = match found.read(&Ctx::from(&context)).await {
        Err(DefinitionError::Diagnostics(diagnostics)) => return nothing(diagnostics),
        read => read?,
    };
    match compile(&definition, &context) {
        Ok(compiled) => {
            diagnostics.extend(compiled.warnings);
            Ok(Defined { runs: compiled.runs, diagnostics })
        }
        Err(errors) => {
            diagnostics.extend(errors);
            nothing(diagnostics)
        }
    }
}

async fn context(dir: &Path, reference: &Reference) -> CompileContext {
    let current = async || {
        let branch = Git::new(dir).run("looking for the branch", ["symbolic-ref", "--short", "HEAD"]).await;
        branch.unwrap_or_else(|_| "main".to_owned())
    };
    let (ref_type, name) = match reference {
        Reference::Current => (RefType::Branch, current().await),
        Reference::Branch(name) => (RefType::Branch, name.clone()),
        Reference::Tag(name) => (RefType::Tag, name.clone()),
        Reference::PullRequest(id) => (RefType::PullRequest, id.clone()),
    };
    super::context_of(dir, ref_type, &name)
}
