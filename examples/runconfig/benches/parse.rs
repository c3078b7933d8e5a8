//! How long from the text of a large definition to its run configs?
//!
//! 1 MiB of YAML with 2,000 tasks that depend on each other, clone, restore and save; and a definition of the size of a
//! real project. The goal for the first: below 100 ms on one core. The median and the slowest of some rounds
//! are shown. Half of the time goes into the YAML parser; `parse_tree` is measured on its own.
//!
//! `cargo bench -p runyard-runconfig`

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use runyard_runconfig::{CompileContext, Format, INPUT_BYTES_MAX, compile, parse, parse_node, parse_tree};
use runyard_runservice_core::model::GroupPath;

const TASKS: usize = 2_000;
const ROUNDS: usize = 21;
const GOAL: Duration = Duration::from_millis(100);

/// A definition of `tasks` tasks; comments fill it up to `size` bytes.
fn yaml(tasks: usize, size: usize) -> String {
    let mut text = "runs:\n  - name: large\n    tasks:\n".to_owned();
    for index in 0..tasks {
        let parent = if index == 0 { String::new() } else { format!("test module {:04}", index.div_ceil(2)) };
        let depends = if index == 0 { "[]".to_owned() } else { format!("[{parent}: [on_success, on_skipped]]") };
        write!(
            text,
            "      - name: test module {next:04}
        depends: {depends}
        runtime:
          containers:
            - image: registry.example.org/ci/builder:1.{index}
        environment:
          MODULE: module-{index}
          TOKEN: {{from_variable: token}}
        steps:
          - clone: {{depth: 1}}
          - restore_cache: {{keys: ['deps-{index}'], dest_dir: target}}
          - run: cargo test -p module-{index} --locked
          - save_cache: {{key: 'deps-{index}', contents: [{{source_dir: target}}]}}
",
            next = index + 1,
        )
        .expect("a string takes all");
    }
    while text.len() < size {
        let line = "# What the project wrote about its modules, which nobody has read since.\n";
        text.push_str(&line[..line.len().min(size - text.len())]);
    }
    text
}

fn compile_text(format: Format, text: &str) -> usize {
    let mut context = CompileContext::new(GroupPath::new("project", "1").expect("valid"));
    context.branch = "main".to_owned();
    context.git_ref = "refs/heads/main".to_owned();
    context.variables.insert("token".to_owned(), "secret".into());
    let (definition, _) = parse("config.yml", format, text).into_result().expect("no errors");
    compile(&definition, &context).expect("a sound graph").runs[0].tasks.len()
}

/// The median and the slowest.
#[expect(clippy::disallowed_methods, reason = "measures itself")]
fn measure(mut work: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        })
        .collect();
    times.sort();
    (times[ROUNDS / 2], times[ROUNDS - 1])
}

fn main() {
    let large = yaml(TASKS, INPUT_BYTES_MAX);
    let small = yaml(20, 0);
    assert_eq!(compile_text(Format::Yaml, &large), TASKS);
    let (goal_median, slowest) = measure(|| assert_eq!(compile_text(Format::Yaml, &large), TASKS));
    println!("1 MiB of YAML, {TASKS} tasks, parsed, checked, compiled: median {goal_median:?}, slowest {slowest:?}");
    let (median, slowest) = measure(|| drop(parse_tree("config.yml", &large)));
    println!("  of that, the text into a tree: median {median:?}, slowest {slowest:?}");
    let tree = parse_tree("config.yml", &large).expect("reads");
    let (median, slowest) = measure(|| drop(parse_node("config.yml", &tree.root)));
    println!("  of that, the tree into a definition: median {median:?}, slowest {slowest:?}");
    let (median, slowest) = measure(|| assert_eq!(compile_text(Format::Yaml, &small), 20));
    println!("{} bytes of YAML, 20 tasks: median {median:?}, slowest {slowest:?}", small.len());
    println!("the goal of {GOAL:?} is {}", if goal_median > GOAL { "missed" } else { "reached" });
}
