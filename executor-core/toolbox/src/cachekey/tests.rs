//! Keys, as Go renders them, and mistakes with their place.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

fn context(working_dir: &std::path::Path) -> Context {
    Context {
        working_dir: working_dir.to_owned(),
        environment: [("A".to_owned(), "x".to_owned()), ("EMPTY".to_owned(), String::new())].into(),
        // 2024-03-05T06:07:08.000000009Z
        now: UNIX_EPOCH + Duration::new(1_709_618_828, 9),
    }
}

fn rendered(template: &str) -> Result<String, String> {
    render(template, &context("/".as_ref()))
        .map_err(|error| format!("{}:{}: {}", error.line, error.column, error.message))
}

#[test]
fn templates_render_as_in_go() {
    let table = [
        ("", ""),
        ("plain } }} text", "plain } }} text"),
        ("{{ year }}-{{month}}-{{ day }}", "2024-03-05"),
        ("{{ unixtime }}", "1709618828000000009"),
        (r#"{{ env "A" }}{{ env "EMPTY" }}{{ env "MISSING" }}"#, "x"),
        ("{{ `raw \\n \"` }}{{ \"\\t\\u00e9\\\"\" }}", "raw \\n \"\té\""),
        (r#"{{ printf "%s-%d-%05d-%-3s|%v%%" "a" 7 -42 "b" true }}"#, "a-7--0042-b  |true%"),
        (r#"{{ "A" | env | printf "%s=%s" "A" }}"#, "A=x"),
        (r#"{{ printf "%q" (env "A") | printf "<%s>" }}"#, "<\"x\">"),
        ("{{ printf \"%s\" os }}", "linux"),
        ("a  {{- \" b \" -}}  c", "a b c"),
        ("a \n{{- /* nothing */ -}}\n b{{/* x */}}", "ab"),
        ("a {{-3}}", "a -3"),
        (r#"{{if eq (env "A") "x"}}yes{{else}}no{{end}}!"#, "yes!"),
        (r#"{{if env "EMPTY"}}1{{else if env "A"}}2{{else}}3{{end}}"#, "2"),
        (r#"{{if not true}}1{{end}}{{if 0}}2{{end}}{{if "" | not}}3{{end}}"#, "3"),
        (r#"{{if true}}{{if false}}1{{else}}2{{end}}3{{end}}4"#, "234"),
        (r#"{{ eq 1 2 1 }}{{ ne "a" "b" }}{{ and 1 0 }}{{ or "" "z" }}"#, "truetrue0z"),
        (r#"{{ or true (md5sum "/no/such/file") }}"#, "true"),
        ("{{ ((2)) }}", "2"),
    ];
    for (template, expected) in table {
        assert_eq!(rendered(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn sums_are_of_files_relative_to_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("go.sum"), "abc").unwrap();
    let key = render(r#"{{ md5sum "go.sum" }} {{ sha256sum "./go.sum" }}"#, &context(dir.path())).unwrap();
    let (md5, sha256) = key.split_once(' ').unwrap();
    assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let table = [
        ("ab{{ env", "1:3: the action has no `}}`"),
        ("é\nx{{ }}", "2:2: the action is empty"),
        ("{{ .Foo }}", "1:4: `.Foo`: a cache key has no data; use a function such as `env`"),
        ("{{ $x := 1 }}", "1:4: `$x`: variables are not supported in a cache key"),
        ("{{ range 1 }}", "1:1: `range` is not supported in a cache key"),
        ("{{ \"a }}", "1:4: the string has no end"),
        ("{{ `a }}", "1:4: the raw string has no end"),
        ("{{ if 1 }}", "1:1: `if` without `end`"),
        ("{{ end }}", "1:1: `end` without `if`"),
        ("{{ else }}", "1:1: `else` without `if`"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", "1:21: a second `else`"),
        ("{{ if }}{{ end }}", "1:1: a value is missing"),
        ("{{ (os }}", "1:4: `(` without `)`"),
        ("{{ os) }}", "1:6: unexpected `)`"),
        ("{{ os | 1 }}", "1:9: what follows `|` must be a function"),
        ("{{ 1 2 }}", "1:4: only a function can have arguments"),
        ("{{ eq 1 \"1\" }}", "1:4: `1` and `1` are of different kinds and cannot be compared"),
        ("{{ os 1 }}", "1:4: `os` takes no argument"),
        ("{{ printf \"%d\" \"x\" }}", "1:4: `printf`: `%d` does not fit the value `x`"),
        ("{{ md5sum \"/no/such\" }}", "1:4: cannot read `/no/such`: No such file or directory (os error 2)"),
    ];
    for (template, expected) in table {
        assert_eq!(rendered(template), Err(expected.to_owned()), "{template}");
    }
    assert!(rendered("{{ nope }}").unwrap_err().starts_with("1:4: there is no function `nope`; there are md5sum"));
    let error = render("{{ 1x }}", &context("/".as_ref())).unwrap_err();
    assert_eq!(error.to_string(), "cache key template `{{ 1x }}`, line 1, column 4: `1x` is not a whole number");
}

#[test]
fn nesting_has_a_bound() {
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(rendered(&deep).unwrap_err().ends_with("nested too deeply"));
    let deep = "{{if 1}}".repeat(100_000) + &"{{end}}".repeat(100_000);
    assert!(rendered(&deep).unwrap_err().ends_with("nested too deeply"));
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(template in r#"(\{\{|\}\}|-| |"|`|\(|\)|\||if|else|end|eq|printf|/\*|\*/|\.|[a-z0-9%é\\]){0,30}"#) {
        let _ = rendered(&template);
    }

    #[test]
    fn text_without_actions_is_unchanged(text in "[^{]{0,50}") {
        prop_assert_eq!(rendered(&text), Ok(text));
    }
}
