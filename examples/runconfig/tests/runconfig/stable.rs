//! Properties: every spelling of a definition means the same, and what a definition means, printed as a definition and
//! read again, still means that.

use proptest::prelude::*;
use runyard_executor_core::contract::{Environment, RegistryAuth, Step, Value as Secret};
use runyard_runconfig::{CompileContext, Format, compile, parse};
use runyard_runservice_core::model::{GroupPath, RunConfig, TaskConfig};
use serde_json::{Map, Value, json};

const CONDITIONS: [&str; 3] = ["on_success", "on_failure", "on_skipped"];

/// A task of a definition, before somebody chooses a spelling.
#[derive(Clone, Debug)]
struct Task {
    images: Vec<String>,
    arch: Option<&'static str>,
    privileged: bool,
    size: Option<u32>,
    environment: Vec<(String, String, bool)>,
    texts: [Option<String>; 3],
    timeout: Option<u32>,
    /// Earlier tasks, and which conditions.
    depends: Vec<(prop::sample::Index, u8)>,
    ignore_failure: bool,
    approvals: u32,
    branch: Option<(String, bool)>,
    steps: Vec<Kind>,
}

#[derive(Clone, Debug)]
enum Kind {
    Clone(Option<u32>, bool),
    Run(String, Option<String>, bool, Option<u32>),
    SaveToWorkspace(String, String),
    RestoreWorkspace(String),
    SaveCache(String, String),
    RestoreCache(Vec<String>, String),
}

/// Chooses spellings: the bits of a number, again and again.
struct Spelling(u64);

impl Spelling {
    fn choose(&mut self) -> bool {
        self.0 = self.0.rotate_left(1);
        self.0 & 1 == 1
    }
}

fn text() -> impl Strategy<Value = String> {
    "[ -~éλ\n\t#:'\"{}\\[\\]*&!|>%@`]{1,12}"
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (prop::option::of(1_u32..9), any::<bool>()).prop_map(|(depth, deep)| Kind::Clone(depth, deep)),
        (text(), prop::option::of(text()), any::<bool>(), prop::option::of(1_u32..9999))
            .prop_map(|(command, name, tty, timeout)| Kind::Run(command, name, tty, timeout)),
        (text(), text()).prop_map(|(dir, path)| Kind::SaveToWorkspace(dir, path)),
        text().prop_map(Kind::RestoreWorkspace),
        (text(), text()).prop_map(|(key, dir)| Kind::SaveCache(key, dir)),
        (prop::collection::vec(text(), 1..3), text()).prop_map(|(keys, dir)| Kind::RestoreCache(keys, dir)),
    ]
}

fn task() -> impl Strategy<Value = Task> {
    let runtime = (
        prop::collection::vec(text(), 1..3),
        prop::option::of(prop::sample::select(vec!["386", "amd64", "arm", "arm64"])),
        any::<bool>(),
        prop::option::of(0_u32..9999),
    );
    let settings = (
        prop::collection::vec(("[A-Z]{1,3}", text(), any::<bool>()), 0..3),
        prop::array::uniform3(prop::option::of(text())),
        prop::option::of(1_u32..9999),
        prop::option::of((prop_oneof![Just("main".to_owned()), Just("/a/".to_owned()), text()], any::<bool>())),
    );
    let rest = (
        prop::collection::vec((any::<prop::sample::Index>(), 1_u8..8), 0..3),
        any::<bool>(),
        0_u32..3,
        prop::collection::vec(kind(), 0..4),
    );
    (runtime, settings, rest).prop_map(|(runtime, settings, rest)| {
        let (images, arch, privileged, size) = runtime;
        let (environment, texts, timeout, branch) = settings;
        let (depends, ignore_failure, approvals, steps) = rest;
        // A pattern between delimiters that cannot be compiled is another test's matter.
        let branch = branch.filter(|(text, _)| text == "/a/" || !text.starts_with(['/', '#']));
        Task {
            images,
            arch,
            privileged,
            size,
            environment,
            texts,
            timeout,
            depends,
            ignore_failure,
            approvals,
            branch,
            steps,
        }
    })
}

/// A step, in one of its spellings.
fn print_step(kind: &Kind, spelling: &mut Spelling) -> Value {
    let (name, fields) = match kind {
        Kind::Clone(None, false) if spelling.choose() => return json!({"clone": null}),
        Kind::Clone(depth, deep) => ("clone", json!({"depth": depth, "recurse_submodules": deep})),
        Kind::Run(command, None, true, None) if spelling.choose() => return json!({"run": command}),
        Kind::Run(command, step, tty, timeout) => {
            let timeout = timeout.map(|seconds| duration(seconds, spelling));
            let mut fields = json!({"command": command, "name": step, "timeout": timeout});
            if !tty || spelling.choose() {
                fields["tty"] = json!(tty);
            }
            ("run", fields)
        }
        Kind::SaveToWorkspace(dir, path) => {
            ("save_to_workspace", json!({"contents": [{"source_dir": dir, "dest_dir": dir, "paths": [path]}]}))
        }
        Kind::RestoreWorkspace(dir) => ("restore_workspace", json!({"dest_dir": dir})),
        Kind::SaveCache(key, dir) => {
            let mut contents = json!({"source_dir": dir});
            if spelling.choose() {
                contents["paths"] = json!(["**"]);
            }
            ("save_cache", json!({"key": key, "contents": [contents]}))
        }
        Kind::RestoreCache(keys, dir) => ("restore_cache", json!({"keys": keys, "dest_dir": dir})),
    };
    if spelling.choose() {
        let mut fields = fields;
        fields["type"] = json!(name);
        return fields;
    }
    json!({name: fields})
}

fn duration(seconds: u32, spelling: &mut Spelling) -> Value {
    match (spelling.choose(), spelling.choose()) {
        (true, true) => json!(u64::from(seconds) * 1_000_000_000),
        (true, false) => json!(format!("{}m{}s", seconds / 60, seconds % 60)),
        (false, true) => json!(format!("{seconds}000ms")),
        (false, false) => json!(format!("{seconds}s")),
    }
}

fn print_task(index: usize, task: &Task, spelling: &mut Spelling) -> Value {
    let containers = task.images.iter().map(|image| {
        let mut container = json!({"image": image});
        if task.privileged || spelling.choose() {
            container["privileged"] = json!(task.privileged);
        }
        if let Some(size) = task.size {
            let size = if spelling.choose() { json!(size) } else { json!(format!("{size}.0")) };
            container["volumes"] = json!([{"path": "/ram", "tmpfs": {"size": size}}]);
        }
        container
    });
    let mut runtime = json!({"containers": containers.collect::<Vec<_>>(), "arch": task.arch});
    if spelling.choose() {
        runtime["type"] = json!("pod");
    }
    let environment: Map<_, _> = task
        .environment
        .iter()
        .map(|(name, text, variable)| {
            (name.clone(), if *variable { json!({"from_variable": "v"}) } else { json!(text) })
        })
        .collect();
    let mut depends: Vec<Value> = Vec::new();
    let mut seen = Vec::new();
    for (parent, conditions) in task.depends.iter().filter(|_| index > 0) {
        let parent = parent.index(index);
        if seen.contains(&parent) {
            continue;
        }
        seen.push(parent);
        let parent = format!("t{parent}");
        let names: Vec<_> = CONDITIONS
            .iter()
            .enumerate()
            .filter(|(bit, _)| conditions & (1 << bit) != 0)
            .map(|(_, name)| name)
            .collect();
        depends.push(match (*conditions == 1, spelling.choose(), spelling.choose()) {
            (true, true, true) => json!(parent),
            (true, true, false) => json!({"task": parent}),
            (_, _, true) => json!({"task": parent, "conditions": names}),
            (_, _, false) => json!({parent: names}),
        });
    }
    let approval = match (task.approvals, spelling.choose()) {
        (0, _) => json!(false),
        (1, true) => json!(true),
        (minimum, _) => json!({"minimum": minimum}),
    };
    let when = task.branch.as_ref().map(|(pattern, listed)| match (listed, spelling.choose(), spelling.choose()) {
        (_, true, true) => json!({"branch": pattern}),
        (_, true, false) => json!({"branch": [pattern]}),
        (_, false, _) => json!({"branch": {"include": pattern}}),
    });
    let timeout = task.timeout.map(|seconds| duration(seconds, spelling));
    let [working_dir, shell, user] = &task.texts;
    json!({
        "name": format!("t{index}"), "runtime": runtime, "environment": environment, "depends": depends,
        "ignore_failure": task.ignore_failure, "approval": approval, "when": when, "task_timeout_interval": timeout,
        "working_dir": working_dir, "shell": shell, "user": user,
        "steps": task.steps.iter().map(|step| print_step(step, spelling)).collect::<Vec<_>>(),
    })
}

fn print(tasks: &[Task], spelling: u64) -> String {
    let mut spelling = Spelling(spelling);
    let tasks: Vec<_> = tasks.iter().enumerate().map(|(index, task)| print_task(index, task, &mut spelling)).collect();
    let definition = json!({"runs": [{"name": "r", "tasks": tasks}]});
    if spelling.choose() { definition.to_string() } else { format!("{definition:#}") }
}

fn plain(environment: &Environment) -> Value {
    environment.iter().map(|(name, value)| (name.clone(), json!(value_of(value)))).collect::<Map<_, _>>().into()
}

fn value_of(value: &Secret) -> &str {
    match value {
        Secret::Plain(text) => text,
        other => panic!("there are no secrets here: {other:?}"),
    }
}

/// What was compiled, as a definition again: the longest spelling of all.
fn print_compiled(run: &RunConfig) -> String {
    let nanos = |duration: std::time::Duration| format!("{}ns", duration.as_nanos());
    let print = |name: String, task: &TaskConfig| {
        let containers = task.runtime.containers.iter().map(|container| {
            let volumes = container.volumes.iter();
            json!({
                "image": container.image, "environment": plain(&container.environment), "user": container.user,
                "privileged": container.privileged, "entrypoint": container.entrypoint,
                "volumes": volumes.map(|v| json!({"path": v.path, "tmpfs": {"size": v.size_max}})).collect::<Vec<_>>(),
            })
        });
        let steps = task.steps.0.iter().map(|step| {
            let mut printed = serde_json::to_value(step).expect("encodes");
            if let Step::Run(step) = step {
                printed["timeout"] = json!(step.timeout.map(nanos));
            }
            printed
        });
        let auth = task.registries_auth.iter().map(|(registry, auth)| {
            let RegistryAuth::Basic { username, password } = auth else { panic!("only these are made here") };
            (registry.clone(), json!({"username": value_of(username), "password": value_of(password)}))
        });
        let depends = task.depends.iter();
        json!({
            "name": name,
            "runtime": {"arch": task.runtime.arch, "containers": containers.collect::<Vec<_>>()},
            "environment": plain(&task.environment),
            "working_dir": task.working_dir, "shell": task.shell, "user": task.user,
            "steps": steps.collect::<Vec<_>>(),
            "depends": depends.map(|(task, conditions)| json!({"task": task, "conditions": conditions})).collect::<Vec<_>>(),
            "ignore_failure": task.ignore_failure,
            "approval": if task.needs_approval { json!({"minimum": task.approvers_min}) } else { json!(false) },
            "when": if task.skip { json!({}) } else { json!(null) },
            "retry": {"max": task.retry.max, "on": task.retry.on},
            "labels": task.labels,
            "docker_registries_auth": auth.collect::<Map<_, _>>(),
            "task_timeout_interval": task.timeout.map(nanos),
        })
    };
    let tasks: Vec<_> = run.tasks.iter().map(|(name, task)| print(name.to_string(), task)).collect();
    json!({"version": "v1", "runs": [{"name": run.name, "concurrency": {"policy": run.concurrency}, "tasks": tasks}]})
        .to_string()
}

/// Parses and compiles, for the branch `main`.
fn expand(text: &str) -> RunConfig {
    let mut context = CompileContext::new(GroupPath::new("project", "1").expect("valid"));
    context.branch = "main".to_owned();
    context.git_ref = "refs/heads/main".to_owned();
    context.variables.insert("v".to_owned(), "the value".into());
    let (definition, _) = parse("t.yml", Format::Yaml, text)
        .into_result()
        .unwrap_or_else(|diagnostics| panic!("{}\n{text}", diagnostics[0]));
    let mut compiled = compile(&definition, &context).expect("a sound graph");
    assert_eq!(compiled.runs.len(), 1);
    compiled.runs.remove(0)
}

/// Without what only the first definition says.
fn comparable(mut run: RunConfig) -> RunConfig {
    for task in run.tasks.values_mut() {
        if task.retry.max == 0 {
            // `retry` without attempts says nothing by what else it has.
            task.retry.on.clear();
        }
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_spelling_means_the_same_and_what_it_means_is_stable(
        tasks in prop::collection::vec(task(), 0..5),
        spellings in prop::array::uniform2(any::<u64>()),
    ) {
        let expected = expand(&print(&tasks, 0));
        for spelling in spellings {
            prop_assert_eq!(&expand(&print(&tasks, spelling)), &expected);
        }
        let again = expand(&print_compiled(&expected));
        prop_assert_eq!(comparable(again), comparable(expected));
    }
}
