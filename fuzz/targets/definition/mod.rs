//! What must hold of whatever the configuration language is given, in any format.

use runyard_runconfig::{CompileContext, Format, RefType, compile, parse};
use runyard_runservice_core::model::GroupPath;

/// What is read without an error is compiled, for a branch and for a tag, and what was compiled says so of itself.
pub fn check(format: Format, text: &str) {
    let parsed = parse("config", format, text);
    let has_error = parsed.diagnostics.iter().any(|diagnostic| diagnostic.is_error());
    assert_eq!(has_error, parsed.definition.is_none());
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.hint.is_some(), "{diagnostic}");
        assert_eq!(diagnostic.to_string().lines().count(), 1, "{diagnostic}");
    }
    let Some(definition) = parsed.definition else { return };
    assert!(!definition.runs.is_empty());
    for (ref_type, name) in [(RefType::Branch, "main"), (RefType::Tag, "v1")] {
        let mut context = CompileContext::new(GroupPath::new("project", "1").expect("valid"));
        context.ref_type = ref_type;
        (context.branch, context.tag) = (name.to_owned(), name.to_owned());
        context.git_ref = format!("refs/heads/{name}");
        // A definition that was parsed has a sound graph; a group may still be refused.
        for run in compile(&definition, &context).map_or(Vec::new(), |compiled| compiled.runs) {
            assert!(run.tasks.values().all(|task| !task.runtime.containers.is_empty()));
            for (name, task) in &run.tasks {
                assert!(task.depends.keys().all(|parent| run.tasks[parent].level < task.level), "{name}");
            }
        }
    }
}
