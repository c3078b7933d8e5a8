//! Definitions as people write them, and the graphs of tasks that they become.
//!
//! `definitions/<name>.yml` is compiled for the reference in its first line (JSON: for `refs/heads/main`) and compared
//! with `definitions/<name>.expected`. `RUNYARD_BLESS=1` writes the expected files anew; read the difference then.

use std::{fmt::Write as _, fs, path::Path};

use runyard_executor_core::contract::{RegistryAuth, Step, Value};
use runyard_runconfig::{CompileContext, Format, RefType, compile, parse};
use runyard_runservice_core::model::{GroupPath, RunConfig, TaskConfig};

fn context(reference: &str) -> CompileContext {
    let group = GroupPath::new("project", "1").and_then(|group| group.child("ref", reference)).expect("valid");
    let mut context = CompileContext::new(group);
    context.git_ref = reference.to_owned();
    context.ssh_private_key = Some("key".into());
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        context.branch = branch.to_owned();
    } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
        (context.ref_type, context.tag) = (RefType::Tag, tag.to_owned());
    } else {
        (context.ref_type, context.from_fork) = (RefType::PullRequest, true);
    }
    for name in ["crates_io_token", "dockerhub_user", "dockerhub_password", "registry_password", "encoded", "aws_key"] {
        context.variables.insert(name.to_owned(), Value::secret(name.to_uppercase()));
    }
    context
}

fn values(out: &mut String, indent: &str, what: &str, environment: &std::collections::BTreeMap<String, Value>) {
    for (name, value) in environment {
        writeln!(out, "{indent}{what} {name}={value:?}").expect("a string takes all");
    }
}

fn show_task(out: &mut String, task: &TaskConfig) -> std::fmt::Result {
    let flags = [
        (task.skip, "skipped".to_owned()),
        (task.ignore_failure, "may fail".to_owned()),
        (task.needs_approval, format!("{} approvals", task.approvers_min)),
        (task.retry.max > 0, format!("retries {} {:?}", task.retry.max, task.retry.on)),
        (!task.labels.is_empty(), format!("labels {:?}", task.labels)),
        (task.working_dir.is_some(), format!("in {}", task.working_dir.as_deref().unwrap_or_default())),
        (task.shell.is_some(), format!("shell {}", task.shell.as_deref().unwrap_or_default())),
        (task.user.is_some(), format!("user {}", task.user.as_deref().unwrap_or_default())),
        (task.timeout.is_some(), format!("timeout {:?}", task.timeout.unwrap_or_default())),
        (task.runtime.arch.is_some(), task.runtime.arch.map(|arch| arch.to_string()).unwrap_or_default()),
    ];
    let flags: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, text)| text).collect();
    if !flags.is_empty() {
        writeln!(out, "    {}", flags.join(", "))?;
    }
    for (parent, conditions) in &task.depends {
        writeln!(out, "    after {parent} {conditions:?}")?;
    }
    for container in &task.runtime.containers {
        write!(out, "    container {}", container.image)?;
        if container.privileged {
            write!(out, ", privileged")?;
        }
        if let Some(user) = &container.user {
            write!(out, ", user {user}")?;
        }
        if let Some(entrypoint) = &container.entrypoint {
            write!(out, ", entrypoint {entrypoint}")?;
        }
        for volume in &container.volumes {
            write!(out, ", volume {} {}", volume.path, volume.size_max)?;
        }
        writeln!(out)?;
        values(out, "      ", "env", &container.environment);
    }
    for (registry, auth) in &task.registries_auth {
        match auth {
            RegistryAuth::Basic { username, password } => {
                writeln!(out, "    auth {registry} {username:?} {password:?}")?;
            }
            RegistryAuth::EncodedAuth { auth } => writeln!(out, "    auth {registry} encoded {auth:?}")?,
        }
    }
    values(out, "    ", "env", &task.environment);
    for step in &task.steps.0 {
        write!(out, "    {} `{}`", step.kind(), step.name())?;
        match step {
            Step::Run(run) if run.command.starts_with("clone_depth=") => {
                let options: Vec<_> = run.command.lines().take(2).collect();
                writeln!(out, " {}", options.join(" "))?;
            }
            Step::Run(run) => {
                writeln!(out, " {:?}{}", run.command, if run.tty { " tty" } else { "" })?;
                values(out, "      ", "env", &run.environment);
                let place = [("in", &run.working_dir), ("shell", &run.shell), ("user", &run.user)];
                for (what, text) in place.iter().filter_map(|(what, text)| Some((what, text.as_ref()?))) {
                    writeln!(out, "      {what} {text}")?;
                }
                if let Some(timeout) = run.timeout {
                    writeln!(out, "      timeout {timeout:?}")?;
                }
            }
            Step::SaveToWorkspace(step) => writeln!(out, " {:?}", step.contents)?,
            Step::RestoreWorkspace(step) => writeln!(out, " {}", step.dest_dir)?,
            Step::SaveCache(step) => writeln!(out, " {} {:?}", step.key, step.contents)?,
            Step::RestoreCache(step) => writeln!(out, " {:?} {}", step.keys, step.dest_dir)?,
        }
    }
    Ok(())
}

fn show_run(out: &mut String, run: &RunConfig) -> std::fmt::Result {
    writeln!(out, "run {} in {}, {:?}, caches of {}", run.name, run.group, run.concurrency, run.cache_group())?;
    for warning in &run.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    values(out, "  ", "env", &run.environment);
    for (name, value) in &run.annotations {
        writeln!(out, "  annotation {name}: {value}")?;
    }
    let mut tasks: Vec<_> = run.tasks.iter().collect();
    tasks.sort_by_key(|(name, task)| (task.level, (*name).clone()));
    for (name, task) in tasks {
        writeln!(out, "  task {name}, level {}", task.level)?;
        show_task(out, task)?;
    }
    Ok(())
}

fn show(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("reads");
    let file = path.file_name().and_then(|name| name.to_str()).expect("text");
    let reference = text.lines().next().and_then(|line| line.strip_prefix("# ref: ")).unwrap_or("refs/heads/main");
    let format = Format::of_path(file).expect("a known format");
    let (definition, warnings) =
        parse(file, format, &text).into_result().unwrap_or_else(|diagnostics| panic!("{}", diagnostics[0]));
    let compiled = compile(&definition, &context(reference)).expect("a sound graph");
    let mut out = String::new();
    for warning in warnings {
        writeln!(out, "{warning}").expect("a string takes all");
    }
    for run in &compiled.runs {
        show_run(&mut out, run).expect("a string takes all");
    }
    out
}

#[test]
fn real_definitions_become_the_graphs_that_they_mean() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    let mut checked = 0;
    let mut paths: Vec<_> = fs::read_dir(&dir).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension != "expected")) {
        let expected_path = path.with_extension("expected");
        let shown = show(path);
        if std::env::var_os("RUNYARD_BLESS").is_some() {
            fs::write(&expected_path, &shown).expect("writes");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        assert!(shown == expected, "{}:\n{shown}", path.display());
        checked += 1;
    }
    assert!(checked >= 30, "only {checked} definitions were found");
}

#[test]
fn every_spelling_of_a_definition_means_the_same() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    for (long, others) in [
        ("go-service-long.yml", ["go-service-short.yml", "go-service-shortest.yml"]),
        ("rust-crate-long.json", ["rust-crate-short.yml", "rust-crate-shortest.yml"]),
    ] {
        // Without the remark on the key that holds anchors.
        let graph =
            |file: &str| show(&dir.join(file)).lines().filter(|l| !l.contains("`x-")).collect::<Vec<_>>().join("\n");
        for other in others {
            assert_eq!(graph(other), graph(long), "{other}");
        }
    }
}
