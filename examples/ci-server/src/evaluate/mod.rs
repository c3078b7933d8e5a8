//! What does a definition come to that is a program? Starlark and Jsonnet, each evaluated in a process of its own.
//!
//! Neither language can be bounded from inside: one text that is repeated often enough fills the memory, or keeps the
//! processor busy long after anybody could have looked at a clock. So this program starts itself once more; what it starts
//! limits itself before it reads anything, and is given nothing but the text.

mod child;
mod jsonnet;
mod limits;
mod parent;
mod starlark;

use runyard_runconfig::{CompileContext, Diagnostic, Format, Node, Parsed, Position, parse, parse_node};
use serde::{Deserialize, Serialize};

pub(crate) use child::run_if_invoked;

/// What a program is told of the commit that it is evaluated for. All of it is always there, and empty where it does not
/// apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ctx {
    /// `branch`, `tag` or `pull_request`.
    pub(crate) ref_type: String,
    #[serde(rename = "ref")]
    pub(crate) git_ref: String,
    pub(crate) branch: String,
    pub(crate) tag: String,
    pub(crate) pull_request_id: String,
    pub(crate) commit_sha: String,
}

impl From<&CompileContext> for Ctx {
    fn from(context: &CompileContext) -> Self {
        Self {
            ref_type: context.ref_type.as_str().to_owned(),
            git_ref: context.git_ref.clone(),
            branch: context.branch.clone(),
            tag: context.tag.clone(),
            pull_request_id: context.pull_request_id.clone(),
            commit_sha: context.commit_sha.clone(),
        }
    }
}

impl Ctx {
    /// Name and value of each part.
    fn entries(&self) -> [(&'static str, &str); 6] {
        [
            ("ref_type", &self.ref_type),
            ("ref", &self.git_ref),
            ("branch", &self.branch),
            ("tag", &self.tag),
            ("pull_request_id", &self.pull_request_id),
            ("commit_sha", &self.commit_sha),
        ]
    }
}

/// The languages that are programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Language {
    Starlark,
    Jsonnet,
}

/// What a child is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Program {
    language: Language,
    file: String,
    text: String,
    ctx: Ctx,
}

/// Why a program came to nothing, and where it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Failure {
    position: Position,
    message: String,
    hint: Option<&'static str>,
}

/// Reads a definition in whichever language. `file` is what diagnostics call it.
pub(crate) async fn read(file: &str, format: Format, text: &str, ctx: &Ctx) -> Parsed {
    let language = match format {
        Format::Yaml | Format::Json => return parse(file, format, text),
        Format::Starlark => Language::Starlark,
        Format::Jsonnet => Language::Jsonnet,
    };
    let program = Program { language, file: file.to_owned(), text: text.to_owned(), ctx: ctx.clone() };
    match parent::evaluate(&program).await {
        Ok(value) => parse_node(file, &Node::from(&value)),
        Err(Failure { position, message, hint }) => {
            let diagnostic = Diagnostic::file_error(file, position, message);
            let diagnostics =
                vec![diagnostic.hint(hint.unwrap_or("mend the program, then try `runyard config check`"))];
            Parsed { definition: None, diagnostics }
        }
    }
}
