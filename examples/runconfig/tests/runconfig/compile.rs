//! From a definition and a commit to runs: environment, variables, groups, skipped tasks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use runyard_executor_core::contract::{TaskName, Value};
use runyard_runconfig::{
    APPROVERS_ANNOTATION, CompileContext, Compiled, Format, RefType, compile, not_found, parse, parse_tree,
    setup_error_run,
};
use runyard_runservice_core::model::{ConcurrencyPolicy, GroupPath, RunConfig, TaskConfig};

fn group() -> GroupPath {
    GroupPath::new("project", "1").and_then(|group| group.child("branch", "main")).expect("valid")
}

fn context() -> CompileContext {
    let mut context = CompileContext::new(group());
    context.git_ref = "refs/heads/main".into();
    context.branch = "main".into();
    context.commit_sha = "abc".into();
    context.repository_url = "git@git.example.org:a/b.git".into();
    context.git_host = "git.example.org".into();
    context.ssh_private_key = Some("deploy-key-1234".into());
    context.ssh_host_key = "git.example.org ssh-ed25519 AAAA".into();
    context
}

fn compiled(text: &str, context: &CompileContext) -> Compiled {
    let parsed = parse("t.yml", Format::Yaml, text).into_result();
    let (definition, _) = parsed.unwrap_or_else(|diagnostics| panic!("{text}: {}", diagnostics[0]));
    compile(&definition, context).expect("a sound graph")
}

fn task<'r>(run: &'r RunConfig, name: &str) -> &'r TaskConfig {
    &run.tasks[&TaskName::parse(name).expect("valid")]
}

const TWO_TASKS: &str = "
runs:
  - name: r
    tasks:
      - {name: with, runtime: {containers: [{image: x}]}, steps: [clone: ]}
      - {name: without, runtime: {containers: [{image: x}]}, steps: [run: a]}
";

#[test]
fn every_task_sees_the_commit_under_both_names() {
    let compiled = compiled(TWO_TASKS, &context());
    let environment = &compiled.runs[0].static_environment;
    let mut expected = BTreeMap::from([("CI".to_owned(), Value::from("true"))]);
    for (name, value) in [
        ("REPOSITORY_URL", "git@git.example.org:a/b.git"),
        ("GIT_HOST", "git.example.org"),
        ("GIT_PORT", "22"),
        ("GIT_BRANCH", "main"),
        ("GIT_TAG", ""),
        ("PULL_REQUEST_ID", ""),
        ("GIT_REF_TYPE", "branch"),
        ("GIT_REF", "refs/heads/main"),
        ("GIT_COMMITSHA", "abc"),
        ("SSHHOSTKEY", "git.example.org ssh-ed25519 AAAA"),
        ("SKIPSSHHOSTKEYCHECK", ""),
    ] {
        expected.insert(format!("AGOLA_{name}"), value.into());
        expected.insert(format!("RUNYARD_{name}"), value.into());
    }
    assert_eq!(*environment, expected);
}

#[test]
fn the_deploy_key_goes_to_tasks_that_clone_and_never_to_a_fork() {
    let run = &compiled(TWO_TASKS, &context()).runs[0];
    let key = Value::secret("deploy-key-1234");
    let expected =
        BTreeMap::from([("AGOLA_SSHPRIVKEY".to_owned(), key.clone()), ("RUNYARD_SSHPRIVKEY".to_owned(), key)]);
    assert_eq!(task(run, "with").environment, expected);
    assert_eq!(task(run, "without").environment, BTreeMap::new());

    let mut fork = context();
    fork.ref_type = RefType::PullRequest;
    fork.from_fork = true;
    let run = &compiled(TWO_TASKS, &fork).runs[0];
    assert!(!serde_json::to_string(run).expect("encodes").contains("deploy-key-1234"));
    assert!(!format!("{fork:?}").contains("deploy-key-1234"));
}

#[test]
fn variables_are_resolved_and_missing_ones_are_named() {
    let text = "
docker_registries_auth:
  reg: {username: {from_variable: NO_USER}, password: {from_variable: SECRET}}
runs:
  - name: r
    tasks:
      - name: t
        environment: {A: {from_variable: SECRET}, B: {from_variable: NONE}, C: plain}
        runtime: {containers: [{image: x, environment: {D: {from_variable: NONE}}}]}
        steps:
          - run: {name: s, command: a, environment: {E: {from_variable: PLAIN}, F: {from_variable: NONE}}}
      - name: skipped
        when: {branch: other}
        environment: {B: {from_variable: ALSO_NONE}}
        runtime: {containers: [{image: x}]}
      - name: u
        runtime: {containers: [{image: x}]}
";
    let mut context = context();
    context.variables.insert("SECRET".into(), Value::secret("s"));
    context.variables.insert("PLAIN".into(), "p".into());
    let compiled = compiled(text, &context);
    let run = &compiled.runs[0];
    assert_eq!(
        task(run, "t").environment,
        BTreeMap::from([("A".into(), Value::secret("s")), ("B".into(), "".into()), ("C".into(), "plain".into())])
    );
    assert_eq!(
        run.warnings,
        [
            "the variable `NONE` does not exist: `B` in the environment of the task `t` is empty",
            "the variable `NONE` does not exist: `D` in the environment of a container of the task `t` is empty",
            "the variable `NONE` does not exist: `F` in the environment of the step `s` of the task `t` is empty",
            "the variable `NO_USER` does not exist: the user name for the registry `reg` is empty",
        ]
    );
    assert_eq!(
        compiled.warnings[0].to_string(),
        "t.yml:5:5: warning: runs[0]: the variable `NONE` does not exist: `B` in the environment of the task `t` is empty (hint: create the variable, or correct its name)"
    );
    assert!(task(run, "skipped").skip);
}

#[test]
fn a_run_that_does_not_match_is_left_out_and_a_task_is_born_skipped() {
    let text = "
runs:
  - {name: a, when: {branch: other}}
  - name: b
    tasks:
      - {name: t, when: {tag: v1}, runtime: {containers: [{image: x}]}}
      - {name: u, runtime: {containers: [{image: x}]}, depends: [t: [on_skipped]]}
  - {name: c, when: {branch: main}}
";
    let compiled = compiled(text, &context());
    let names: Vec<_> = compiled.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
    assert!(task(&compiled.runs[0], "t").skip);
    assert!(!task(&compiled.runs[0], "u").skip);
    assert_eq!(task(&compiled.runs[0], "u").level, 1);
}

#[test]
fn concurrency_and_cache_groups_stay_inside_the_project() {
    let text = "
version: v1
runs:
  - {name: a}
  - {name: b, concurrency: {policy: cancel_running}}
  - {name: c, concurrency: {group: ../../deploy, policy: parallel}, cache_group: shared}
";
    let compiled = compiled(text, &context());
    let [a, b, c] = compiled.runs.as_slice() else { panic!("three runs") };
    assert_eq!((&a.group, a.concurrency, a.cache_group()), (&group(), ConcurrencyPolicy::Queue, "/project/1".into()));
    assert_eq!((&b.group, b.concurrency), (&group(), ConcurrencyPolicy::CancelRunning));
    assert_eq!(c.group.as_str(), "/project/1/concurrency/..%2F..%2Fdeploy");
    assert_eq!((c.concurrency, c.cache_group().as_str()), (ConcurrencyPolicy::Parallel, "/project/1/cache/shared"));
}

#[test]
fn named_approvers_become_an_annotation() {
    let text = "
runs:
  - name: r
    tasks:
      - {name: t, approval: {approvers: [ann, bob]}, runtime: {containers: [{image: x}]}}
      - {name: u, approval: true, runtime: {containers: [{image: x}]}}
";
    let run = &compiled(text, &context()).runs[0];
    let expected = BTreeMap::from([(format!("{APPROVERS_ANNOTATION}t"), r#"["ann","bob"]"#.to_owned())]);
    assert_eq!(run.annotations, expected);
    assert_eq!((task(run, "u").needs_approval, task(run, "u").approvers_min), (true, 1));
}

#[test]
fn a_broken_definition_becomes_a_run_that_says_so() {
    let text = "runs: [{name: r, tasks: [{name: t}], wehn: {}}]";
    let diagnostics = parse("t.yml", Format::Yaml, text).into_result().expect_err("broken");
    let run = setup_error_run("r", group(), &diagnostics);
    assert_eq!(
        run.setup_errors,
        [
            "t.yml:1:26: error: runs[0].tasks[0]: the task has no runtime (hint: add `runtime: {containers: [{image: ...}]}`)"
        ]
    );
    assert_eq!(run.warnings, ["t.yml:1:38: warning: runs[0]: unknown key `wehn` (hint: did you mean `when`?)"]);
    assert!(run.tasks.is_empty());
    assert_eq!(setup_error_run("r", group(), &[not_found()]).setup_errors.len(), 1);
    assert_eq!(setup_error_run("r", group(), &[]).setup_errors.len(), 1);
}

/// Words of the language in any order and nesting: most are nonsense, some are definitions.
fn nonsense() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        "[a-z0-9./#*-]{1,8}".prop_map(|text| format!("{text:?}")),
        (-5..500_i32).prop_map(|number| number.to_string()),
        Just("yes".to_owned()),
    ];
    let key = prop::sample::select(vec![
        "version",
        "runs",
        "name",
        "tasks",
        "when",
        "branch",
        "include",
        "exclude",
        "runtime",
        "containers",
        "image",
        "steps",
        "type",
        "run",
        "clone",
        "depth",
        "depends",
        "task",
        "conditions",
        "environment",
        "from_variable",
        "volumes",
        "tmpfs",
        "size",
        "approval",
        "retry",
        "schedule",
        "inputs",
        "save_cache",
        "restore_cache",
        "keys",
        "contents",
        "docker_registries_auth",
        "auth",
        "timeout",
        "task_timeout_interval",
        "<<",
    ]);
    leaf.prop_recursive(8, 64, 6, move |inner| {
        let entries = prop::collection::vec((key.clone(), inner.clone()), 0..6);
        let map = entries.prop_map(|entries| {
            let entries = entries.into_iter().map(|(key, value)| format!("{key}: {value}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        });
        prop_oneof![map, prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", ")))]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse("t.yml", Format::Yaml, &text);
    }

    #[test]
    fn no_nonsense_makes_it_panic(run in nonsense(), task in nonsense(), step in nonsense(), v1 in any::<bool>()) {
        let version = if v1 { "v1" } else { "v0" };
        let text = format!(
            "{{version: {version}, runs: [{run}, {{name: r, tasks: [{task}, {{name: t, steps: [{step}], runtime: {task}}}]}}]}}"
        );
        let parsed = parse("t.yml", Format::Yaml, &text);
        for diagnostic in &parsed.diagnostics {
            prop_assert!(!diagnostic.to_string().contains('\n'));
        }
        // What is accepted can be compiled, and what is refused says why.
        match parsed.definition {
            Some(definition) => { compile(&definition, &context()).expect("a sound graph"); }
            None => prop_assert!(parsed.diagnostics.iter().any(|diagnostic| diagnostic.is_error())),
        }
        let _ = parse_tree("t.yml", &text);
    }
}

const INPUTS: &str = "
version: v1
runs:
  - name: r
    inputs:
      where: {default: staging}
      count: {type: number, required: true}
      dry: {type: boolean}
      note:
  - name: other
";

#[test]
fn inputs_become_variables_and_defaults_count_where_nothing_is_given() {
    let inputs = |given: Option<&[(&str, &str)]>| {
        let mut context = context();
        context.inputs =
            given.map(|given| given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
        let (definition, _) = parse("t.yml", Format::Yaml, INPUTS).into_result().expect("no errors");
        compile(&definition, &context).map(|compiled| compiled.runs[0].environment.clone())
    };
    let variables = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), Value::from(*text))).collect::<BTreeMap<_, _>>()
    };
    // A push: nobody was asked, so that nothing can be missing.
    assert_eq!(inputs(None), Ok(variables(&[("where", "staging")])));
    let given = [("count", "2.5"), ("dry", "true"), ("where", "live"), ("unasked", "x")];
    assert_eq!(inputs(Some(&given)), Ok(variables(&[("count", "2.5"), ("dry", "true"), ("where", "live")])));
    let messages = |given: &[(&str, &str)]| {
        let errors = inputs(Some(given)).expect_err("something is wrong");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        messages(&[("dry", "yes")]),
        [
            "t.yml:4:5: error: runs[0]: the input `count` is missing (hint: give it when the run is started)",
            "t.yml:4:5: error: runs[0]: the input `dry` has to be `true` or `false`, and is `yes` (hint: give another value)",
        ]
    );
    assert_eq!(
        messages(&[("count", "many")]),
        ["t.yml:4:5: error: runs[0]: the input `count` has to be a number, and is `many` (hint: give another value)"]
    );
}
