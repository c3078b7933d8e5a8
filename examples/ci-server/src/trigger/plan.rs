//! Which runs does a commit ask for? A trigger and what its commit says in, run configs out. Nothing is read or written
//! here; a definition that is a program is evaluated elsewhere.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use runyard_executor_core::contract::{Environment, Value};
use runyard_runconfig::{CompileContext, Diagnostic, Position, RefType};
use runyard_runservice_core::model::{GroupPath, RunConfig};

use crate::{
    configdata::{Project, Trigger},
    evaluate::{self, Ctx},
    git::{Commit, DefinitionFile},
    server::auth::AdminToken,
};

/// The variables that hold the number of a run.
const NUMBER_VARIABLES: [&str; 2] = ["RUNYARD_RUN_COUNTER", "AGOLA_RUN_COUNTER"];

/// What runs are called that show what is wrong with a definition.
const SETUP_RUN: &str = "setup";

/// The most of a commit message that a run keeps, in characters.
const MESSAGE_CHARS_MAX: usize = 1000;

/// How the tasks of a run get at the repository.
#[derive(Clone, Debug)]
pub(crate) struct CloneAccess {
    /// The address of the server, as tasks reach it: `http://127.0.0.1:8080`.
    pub(crate) server: String,
    pub(crate) token: AdminToken,
}

/// The runs of one trigger.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) runs: Vec<RunConfig>,
    /// What all of them have in common.
    pub(super) shell: Shell,
}

/// A run without its tasks.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    group: GroupPath,
    annotations: BTreeMap<String, String>,
}

impl Shell {
    /// A run that shows why there is no other.
    pub(super) fn with_error(&self, error: String) -> RunConfig {
        let mut config = RunConfig::new(SETUP_RUN, self.group.clone());
        config.annotations = self.annotations.clone();
        config.setup_errors = vec![error];
        config
    }

    fn with_diagnostics(&self, diagnostics: &[Diagnostic]) -> RunConfig {
        let mut config = runyard_runconfig::setup_error_run(SETUP_RUN, self.group.clone(), diagnostics);
        config.annotations = self.annotations.clone();
        config
    }
}

/// Says which runs a trigger makes; none if the commit asks for none. `commit` is an error if there is no commit.
pub(super) async fn plan(
    project: &Project,
    trigger: &Trigger,
    commit: Result<&Commit, &str>,
    access: &CloneAccess,
) -> Plan {
    let shell = Shell { group: group(project, trigger), annotations: annotations(project, trigger, commit.ok()) };
    let runs = match commit {
        Err(reason) => vec![shell.with_error(reason.to_owned())],
        Ok(commit) if runyard_runconfig::asks_to_skip(&commit.message) => Vec::new(),
        Ok(commit) => match compile(project, trigger, commit, &shell, access).await {
            Ok(runs) => runs,
            Err(diagnostics) => vec![shell.with_diagnostics(&diagnostics)],
        },
    };
    Plan { runs, shell }
}

async fn compile(
    project: &Project,
    trigger: &Trigger,
    commit: &Commit,
    shell: &Shell,
    access: &CloneAccess,
) -> Result<Vec<RunConfig>, Vec<Diagnostic>> {
    let is_present = |path: &str| commit.present.iter().any(|present| present == path);
    let found = runyard_runconfig::discover(is_present).ok_or_else(|| vec![runyard_runconfig::not_found()])?;
    let (path, content) = match &commit.definition {
        DefinitionFile::Text { path, content } => (path, content),
        DefinitionFile::Missing => return Err(vec![runyard_runconfig::not_found()]),
        DefinitionFile::Unusable { path, reason } => {
            return Err(vec![Diagnostic::file_error(path, Position::default(), *reason)]);
        }
    };
    let context = context(project, trigger, commit, shell, access);
    let parsed = evaluate::read(path, found.candidate.format, content, &Ctx::from(&context)).await;
    let (definition, parsed) = parsed.into_result()?;
    let mut runs = runyard_runconfig::compile(&definition, &context)?.runs;
    let warnings: Vec<String> = found.warnings.iter().chain(&parsed).map(ToString::to_string).collect();
    for run in &mut runs {
        run.annotations.extend(shell.annotations.clone());
        run.warnings.extend(warnings.clone());
        run.number_variables = NUMBER_VARIABLES.map(str::to_owned).to_vec();
        run.static_environment.extend(clone_environment(project, &context.repository_url, access));
    }
    Ok(runs)
}

/// `/project/<id>/branch/<name>` or `/project/<id>/tag/<name>`.
fn group(project: &Project, trigger: &Trigger) -> GroupPath {
    let root = root_group(project);
    match (trigger.name.branch(), trigger.name.tag()) {
        (Some(branch), _) => root.child("branch", branch),
        (_, Some(tag)) => root.child("tag", tag),
        _ => root.child("ref", trigger.name.as_str()),
    }
    .expect("a ref name is short enough for a group, and not empty")
}

/// The group of everything of a project, which counts its runs.
pub(crate) fn root_group(project: &Project) -> GroupPath {
    GroupPath::new("project", project.id.as_str()).expect("an id is short and not empty")
}

fn annotations(project: &Project, trigger: &Trigger, commit: Option<&Commit>) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        ("project".to_owned(), project.id.to_string()),
        ("ref".to_owned(), trigger.name.to_string()),
        ("commit".to_owned(), commit.map_or(&trigger.new, |commit| &commit.id).to_string()),
    ]);
    let short = |kind: &str, name: Option<&str>| Some((kind.to_owned(), name?.to_owned()));
    annotations.extend(short("branch", trigger.name.branch()).or(short("tag", trigger.name.tag())));
    if let Some(commit) = commit {
        let message: String = commit.message.chars().take(MESSAGE_CHARS_MAX).collect();
        annotations.extend([("message".to_owned(), message), ("author".to_owned(), commit.author.clone())]);
    }
    annotations
}

fn context(
    project: &Project,
    trigger: &Trigger,
    commit: &Commit,
    shell: &Shell,
    access: &CloneAccess,
) -> CompileContext {
    let mut context = CompileContext::new(shell.group.clone());
    context.ref_type = if trigger.name.tag().is_some() { RefType::Tag } else { RefType::Branch };
    context.git_ref = trigger.name.to_string();
    context.branch = trigger.name.branch().unwrap_or_default().to_owned();
    context.tag = trigger.name.tag().unwrap_or_default().to_owned();
    context.commit_sha = commit.id.to_string();
    context.repository_url = format!("{}/git/{}.git", access.server, project.name);
    context
}

/// Makes every git command of a task that speaks to this repository authenticate itself, with a token that can do
/// nothing but read it. Git takes settings from these variables since 2.31.
fn clone_environment(project: &Project, repository_url: &str, access: &CloneAccess) -> Environment {
    let credentials = STANDARD.encode(format!("run:{}", access.token.read_token(&project.id)));
    Environment::from([
        ("GIT_CONFIG_COUNT".to_owned(), Value::from("1")),
        ("GIT_CONFIG_KEY_0".to_owned(), Value::from(format!("http.{repository_url}.extraHeader"))),
        ("GIT_CONFIG_VALUE_0".to_owned(), Value::secret(format!("Authorization: Basic {credentials}"))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        configdata::{ProjectId, ProjectName, RefName},
        ids::Ids,
    };

    const TWO_RUNS: &str = "runs: [{name: a, tasks: []}, {name: b, when: {tag: v1}, tasks: []}]";

    async fn planned(name: &str, message: &str, definition: DefinitionFile) -> Vec<RunConfig> {
        let directory = tempfile::tempdir().expect("a directory");
        let (token, _) = AdminToken::load_or_create(&directory.path().join("token")).expect("a token");
        let access = CloneAccess { server: "http://127.0.0.1:8080".to_owned(), token };
        let id = ProjectId::generate(&Ids::seeded(1));
        let project = Project { id, name: ProjectName::parse("app").expect("a name"), default_branch: None };
        let new: crate::configdata::ObjectId = "a".repeat(40).parse().expect("an object id");
        let name = RefName::parse(name).expect("a ref name");
        let trigger = Trigger { project: project.id.clone(), name, old: None, new: new.clone() };
        let (author, message) = ("A <a@b>".to_owned(), message.to_owned());
        let present = match &definition {
            DefinitionFile::Missing => Vec::new(),
            DefinitionFile::Text { path, .. } | DefinitionFile::Unusable { path, .. } => vec![path.clone()],
        };
        let commit = Commit { id: new, message, author, present, definition };
        plan(&project, &trigger, Ok(&commit), &access).await.runs
    }

    fn text(content: &str) -> DefinitionFile {
        DefinitionFile::Text { path: ".runyard/config.yml".to_owned(), content: content.to_owned() }
    }

    #[tokio::test]
    async fn a_branch_and_a_tag_get_the_runs_that_match_them_in_file_order() {
        for (name, group, runs) in
            [("refs/heads/feature/x", "/branch/feature%2Fx", &["a"][..]), ("refs/tags/v1", "/tag/v1", &["a", "b"])]
        {
            let planned = planned(name, "Title", text(TWO_RUNS)).await;
            assert_eq!(planned.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), runs);
            for run in planned {
                assert!(run.group.as_str().ends_with(group), "{}", run.group);
                assert_eq!(run.annotations["ref"], name);
                assert_eq!(run.annotations["message"], "Title");
                assert_eq!(run.static_environment["RUNYARD_GIT_REF"].expose(), name);
                let key = run.static_environment["GIT_CONFIG_KEY_0"].expose();
                assert_eq!(key, "http.http://127.0.0.1:8080/git/app.git.extraHeader");
                assert!(run.static_environment["GIT_CONFIG_VALUE_0"].is_secret());
            }
        }
    }

    #[tokio::test]
    async fn a_commit_that_asks_for_no_runs_gets_none() {
        assert!(planned("refs/heads/main", "Mend a typo [ci skip]", text(TWO_RUNS)).await.is_empty());
        assert!(planned("refs/heads/main", "Mend [ci skip]", DefinitionFile::Missing).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_definition_is_shown_at_one_run() {
        let unusable = DefinitionFile::Unusable { path: ".runyard/config.yml".to_owned(), reason: "it is a link" };
        for (definition, expected) in [
            (DefinitionFile::Missing, "has no run definition"),
            (unusable, ".runyard/config.yml: error: it is a link"),
            (text("runs: 7"), ".runyard/config.yml:1"),
            (text("{"), ".runyard/config.yml:1"),
        ] {
            let planned = planned("refs/heads/main", "Title", definition).await;
            assert_eq!(planned.len(), 1, "{expected}");
            let errors = planned[0].setup_errors.join("\n");
            assert!(errors.contains(expected), "{errors}");
            assert_eq!(planned[0].annotations["branch"], "main");
        }
    }
}
