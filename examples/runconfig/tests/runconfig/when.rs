//! The table of `when`: written as in a definition, compiled for a reference, did the run come into being?

use runyard_runconfig::{CompileContext, Format, RefType, compile, parse};
use runyard_runservice_core::model::GroupPath;

fn context(reference: &str) -> CompileContext {
    let group = GroupPath::new("project", "1").expect("valid");
    let mut context = CompileContext::new(group);
    context.git_ref = reference.to_owned();
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        context.branch = branch.to_owned();
    } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
        context.ref_type = RefType::Tag;
        context.tag = tag.to_owned();
    } else {
        context.ref_type = RefType::PullRequest;
        // What a careless caller says; it must not count.
        context.branch = "main".to_owned();
        context.pull_request_id = "7".to_owned();
    }
    context
}

fn matches(version: &str, when: &str, reference: &str) -> bool {
    let text = format!("{{version: {version}, runs: [{{name: r, when: {when}}}]}}");
    let (definition, _) = parse("t.yml", Format::Yaml, &text)
        .into_result()
        .unwrap_or_else(|diagnostics| panic!("{when}: {}", diagnostics[0]));
    let compiled = compile(&definition, &context(reference)).expect("a sound graph");
    compiled.runs.len() == 1
}

const MAIN: &str = "refs/heads/main";
const FEATURE: &str = "refs/heads/feature/a";
const TAG: &str = "refs/tags/v1.2";
const PULL: &str = "refs/pull/7/head";

#[test]
fn every_version_matches_like_this() {
    for (when, reference, expected) in [
        // None at all, and the empty one.
        ("null", MAIN, true),
        ("null", TAG, true),
        ("~", PULL, true),
        ("{}", MAIN, false),
        ("{}", PULL, false),
        ("{branch: null}", MAIN, false),
        // Branches.
        ("{branch: main}", MAIN, true),
        ("{branch: main}", FEATURE, false),
        ("{branch: main}", TAG, false),
        ("{branch: main}", PULL, false),
        ("{branch: mai}", MAIN, false),
        ("{branch: Main}", MAIN, false),
        ("{branch: [x, main]}", MAIN, true),
        ("{branch: []}", MAIN, false),
        ("{branch: {include: main}}", MAIN, true),
        ("{branch: {include: [x, main]}}", MAIN, true),
        ("{branch: {include: main, exclude: main}}", MAIN, false),
        ("{branch: {include: /.*/, exclude: [/^feature/]}}", FEATURE, false),
        ("{branch: {include: /.*/, exclude: [/^feature/]}}", MAIN, true),
        ("{branch: {}}", MAIN, false),
        // Tags.
        ("{tag: v1.2}", TAG, true),
        ("{tag: v1.2}", "refs/heads/v1.2", false),
        (r"{tag: '/^v\d+\.\d+$/'}", TAG, true),
        (r"{tag: '/^v\d+$/'}", TAG, false),
        ("{branch: main, tag: v1.2}", TAG, true),
        ("{branch: main, tag: v1.2}", MAIN, true),
        ("{branch: main, tag: v1.2}", FEATURE, false),
        // References of any kind.
        ("{ref: refs/heads/main}", MAIN, true),
        ("{ref: main}", MAIN, false),
        ("{ref: '/refs/pull/'}", PULL, true),
        ("{ref: '#^refs/pull/.*/head$#'}", PULL, true),
        ("{ref: '#/refs/pull#'}", PULL, false),
        ("{branch: main, ref: '#^refs/pull/#'}", PULL, true),
        // Later keys see what earlier ones decided.
        ("{branch: main, ref: {include: x, exclude: refs/heads/main}}", MAIN, false),
        ("{branch: {include: x, exclude: main}, ref: refs/heads/main}", MAIN, true),
        ("{branch: {include: /.*/}, ref: {exclude: '#feature#'}}", FEATURE, false),
        ("{branch: {include: /.*/}, ref: {exclude: '#feature#'}}", MAIN, true),
        // Regular expressions: unanchored, ASCII, and only between two equal delimiters with something inside.
        ("{branch: /ai/}", MAIN, true),
        ("{branch: '#ai#'}", MAIN, true),
        ("{branch: /ai#}", MAIN, false),
        ("{branch: /ai}", MAIN, false),
        ("{branch: //}", MAIN, false),
        ("{branch: '##'}", MAIN, false),
        ("{branch: //}", "refs/heads///", true),
        ("{branch: '##'}", "refs/heads/##", true),
        ("{branch: /}", "refs/heads//", true),
        ("{branch: '/(?i)MAIN/'}", MAIN, true),
        ("{branch: '/^.$/'}", "refs/heads/é", true),
        (r"{branch: '/^\w$/'}", "refs/heads/é", false),
        (r"{branch: '/^\d$/'}", "refs/heads/٣", false),
        ("{branch: '/^feature//'}", FEATURE, true),
        // A number is its text.
        ("{branch: 1.10}", "refs/heads/1.10", true),
        ("{branch: 1.10}", "refs/heads/1.1", false),
    ] {
        for version in ["v0", "v1"] {
            assert_eq!(matches(version, when, reference), expected, "{version}: {when} on {reference}");
        }
    }
}

#[test]
fn the_versions_differ_in_globs_and_lone_excludes() {
    for (when, reference, v0, v1) in [
        ("{branch: feature/*}", FEATURE, false, true),
        ("{branch: '*'}", MAIN, false, true),
        ("{branch: '*'}", FEATURE, false, false),
        ("{branch: '**'}", FEATURE, false, true),
        ("{branch: 'feature/*'}", "refs/heads/feature/a/b", false, false),
        ("{branch: '{main,x}'}", MAIN, false, true),
        ("{branch: 'mai[m-o]'}", MAIN, false, true),
        ("{tag: 'v?.*'}", TAG, false, true),
        ("{branch: '*'}", "refs/heads/*", true, true),
        ("{branch: {exclude: main}}", MAIN, false, false),
        ("{branch: {exclude: main}}", FEATURE, false, true),
        ("{branch: {exclude: main}}", TAG, false, false),
        ("{branch: {exclude: main}}", PULL, false, false),
        ("{branch: {exclude: 'feature/*'}}", FEATURE, false, false),
        ("{ref: {exclude: refs/heads/main}}", PULL, false, true),
        ("{ref: {exclude: refs/heads/main}}", MAIN, false, false),
        ("{branch: {exclude: main}, ref: {exclude: refs/heads/x}}", MAIN, false, false),
        ("{branch: {exclude: main}, ref: {exclude: refs/heads/x}}", "refs/heads/x", false, false),
        ("{branch: {exclude: main}, ref: {exclude: refs/heads/x}}", FEATURE, false, true),
        // With an include anywhere, an exclude only clears.
        ("{branch: main, ref: {exclude: '#wip#'}}", FEATURE, false, false),
        ("{branch: main, ref: {exclude: '#wip#'}}", MAIN, true, true),
    ] {
        assert_eq!(matches("v0", when, reference), v0, "v0: {when} on {reference}");
        assert_eq!(matches("v1", when, reference), v1, "v1: {when} on {reference}");
    }
}
