use proptest::prelude::*;

use super::*;
use crate::node::ScalarKind;

fn tree(text: &str) -> Node {
    parse_tree("t.yml", text).expect("reads").root
}

/// The tree in a short notation: `key@line:column=text/kind`.
fn show(node: &Node) -> String {
    match &node.kind {
        NodeKind::Null => format!("null@{}", node.position),
        NodeKind::Scalar(scalar) => format!("{}/{:?}@{}", scalar.text, scalar.kind, node.position),
        NodeKind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}@{}={}", key.text, key.position, show(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn scalars_keep_their_text_and_their_place() {
    let text = "a: 1.10\nb: yes\nc: 'yes'\nd: true\ne: 007\nf:\ng: [x, 0x1F, ~]\nh: |\n  one\n  two\n1: 1_000\n";
    assert_eq!(
        show(&tree(text)),
        "{a@1:1=1.10/Number@1:4, b@2:1=yes/Plain@2:4, c@3:1=yes/Quoted@3:4, d@4:1=true/Bool@4:4, \
         e@5:1=007/Number@5:4, f@6:1=null@6:2, g@7:1=[x/Plain@7:5, 0x1F/Number@7:8, null@7:14], \
         h@8:1=one\ntwo\n/Plain@9:3, 1@11:1=1_000/Number@11:4}"
    );
}

#[test]
fn anchors_and_merge_keys_point_to_where_the_text_stands() {
    let text = "base: &base\n  a: 1\n  b: 2\none:\n  <<: *base\n  b: 3.0\ntwo: *base\nthree:\n  <<: [*base, {c: 5}]\n";
    assert_eq!(
        show(&tree(text)),
        "{base@1:1={a@2:3=1/Number@2:6, b@3:3=2/Number@3:6}, \
         one@4:1={b@6:3=3.0/Number@6:6, a@2:3=1/Number@2:6}, \
         two@7:1={a@2:3=1/Number@2:6, b@3:3=2/Number@3:6}, \
         three@8:1={a@2:3=1/Number@2:6, b@3:3=2/Number@3:6, c@9:16=5/Number@9:19}}"
    );
}

#[test]
fn own_keys_win_over_merged_ones_and_the_first_source_over_later_ones() {
    let text =
        "- &a {x: a, y: a}\n- &b {y: b, z: b}\n- {<<: [*a, *b], x: own}\n- {<<: *b, <<: *a}\n- {'<<': *a}\n- {<<: }\n";
    let NodeKind::List(items) = tree(text).kind else { panic!("a list") };
    let shown: Vec<_> = items[2..].iter().map(|item| show(item).replace("/Plain", "")).collect();
    assert_eq!(
        shown,
        [
            "{x@3:18=own@3:21, y@1:13=a@1:16, z@2:13=b@2:16}",
            "{y@2:7=b@2:10, z@2:13=b@2:16, x@1:7=a@1:10}",
            "{<<@5:4={x@1:7=a@1:10, y@1:13=a@1:16}}",
            "{}",
        ]
    );
    for (text, expected) in [
        ("a: {<<: 1}", "t.yml:1:9: error: `<<` takes a map, and this is a number"),
        ("a: {<<: [{}, x]}", "t.yml:1:14: error: `<<` takes maps, and this is a string"),
    ] {
        let error = parse_tree("t.yml", text).expect_err("no map").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn duplicate_keys_arrive_both() {
    assert_eq!(show(&tree("a: 1\na: 2\n")), "{a@1:1=1/Number@1:4, a@2:1=2/Number@2:4}");
}

#[test]
fn json_goes_through_the_same_parser() {
    let json = "{\n\t\"a\": [1, true, null, \"x\\u00e9\\n\"],\n\t\"b\": {\"c\":1}\n}";
    let expected = "{a@2:2=[1/Number@2:8, true/Bool@2:11, null@2:17, xé\n/Quoted@2:23], b@3:2={c@3:8=1/Number@3:12}}";
    assert_eq!(show(&tree(json)), expected);
}

#[test]
fn a_broken_file_says_where() {
    let error = parse_tree("t.yml", "a: 1\nb: [1, 2\nc: 3\n").expect_err("broken").to_string();
    assert!(error.starts_with("t.yml:3:"), "{error}");
    assert!(!error.contains("at line"), "{error}");
    let error = parse_tree("t.yml", "a: *missing\n").expect_err("broken").to_string();
    assert!(error.starts_with("t.yml:1:"), "{error}");
    let error = parse_tree("t.yml", "[a]: 1\n").expect_err("a list as key").to_string();
    let hint = "(hint: write `key: value` here; a key is a word or in quotes, and `<<` takes a map)";
    assert_eq!(error, format!("t.yml:1:1: error: a key must be a string, and this is a list {hint}"));
}

#[test]
fn oversized_deep_and_explosive_files_are_refused() {
    let large = format!("a: {}", "x".repeat(INPUT_BYTES_MAX));
    let error = parse_tree("t.yml", &large).expect_err("too large").to_string();
    assert!(error.contains("1048576 are the most"), "{error}");

    parse_tree("t.yml", &format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))).expect("as deep as allowed");
    for deep in [
        "[".repeat(500_000),
        format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)),
        "- ".repeat(100_000),
    ] {
        let error = parse_tree("t.yml", &deep).expect_err("too deep").to_string();
        assert!(error.contains("nested deeper than 24") || error.contains("recursion limit exceeded"), "{error}");
    }

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let error = parse_tree("t.yml", &bomb).expect_err("a bomb").to_string();
    assert!(error.contains("error: the definition has more than 200000 values"), "{error}");
}

#[test]
fn one_anchor_may_be_used_by_many() {
    let mut text = "base: &base {image: x}\n".to_owned();
    for index in 0..500 {
        text.push_str(&format!("k{index}: *base\n"));
    }
    tree(&text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_the_parser_panic(text in r#"([ \t\n:\-\[\]{}&*|>'"%@`,?#<a-c0-9éü\r\u{0}]|<<|---|\.\.\.){0,80}"#) {
        let _ = parse_tree("t.yml", &text);
    }

    #[test]
    fn a_string_survives_json(text in any::<String>()) {
        let json = serde_json::to_string(&serde_json::json!({ "k": text })).expect("encodes");
        let NodeKind::Map(entries) = tree(&json).kind else { panic!("a map") };
        let NodeKind::Scalar(scalar) = &entries[0].1.kind else { panic!("a scalar") };
        prop_assert_eq!(&scalar.text, &text);
        prop_assert_eq!(scalar.kind, ScalarKind::Quoted);
    }
}

#[test]
fn only_the_first_document_is_read() {
    for text in ["---\na: 1\n", "a: 1\n---\n", "%YAML 1.1\n---\na: 1\n...\n", "\u{feff}a: 1\r\n"] {
        let tree = parse_tree("t.yml", text).expect("reads");
        assert!(matches!(&tree.root.kind, NodeKind::Map(entries) if entries.len() == 1), "{text}");
        assert_eq!(tree.warning, None, "{text}");
    }
    let tree = parse_tree("t.yml", "a: 1\n---\nb: 2\n").expect("reads");
    assert_eq!(show(&tree.root), "{a@1:1=1/Number@1:4}");
    assert_eq!(
        tree.warning.expect("there is a second").to_string(),
        "t.yml:3:1: warning: only the first document of the file is read (hint: keep one document in the file)"
    );
}

#[test]
fn odd_scalars_keep_their_text() {
    for (text, expected) in [
        ("12e4567", "12e4567/Plain"),
        ("-1e999", "-1e999/Plain"),
        (".inf", ".inf/Plain"),
        ("'.inf'", ".inf/Quoted"),
        ("99999999999999999999999999999999999999999999", "99999999999999999999999999999999999999999999/Number"),
        ("2001-01-01", "2001-01-01/Plain"),
        ("12:30", "12:30/Plain"),
        ("!foo 1", "1/Number"),
        ("!!str 1.0", "1.0/Plain"),
        ("!!binary aGk=", "aGk=/Plain"),
        ("!include x.yml", "x.yml/Plain"),
        ("${HOME}", "${HOME}/Plain"),
    ] {
        let NodeKind::Map(entries) = tree(&format!("a: {text}")).kind else { panic!("a map") };
        let shown = show(&entries[0].1);
        assert_eq!(shown.split_once('@').expect("has a place").0, expected, "{text}");
    }
}

#[test]
fn tags_of_text_keep_text_and_stand_before_nothing_else() {
    assert_eq!(show(&tree("!!str <<: ! 1")), "{<<@1:7=1/Plain@1:13}", "no merge key, and no number");
    let error = parse_tree("t.yml", "a: !!str [b]").expect_err("a list is no text").to_string();
    assert!(error.starts_with("t.yml:1:10: error: cannot be read as YAML or JSON: unsupported tag `!!str`"), "{error}");
}

#[test]
fn an_alias_cannot_stand_for_what_it_is_a_part_of() {
    let error = parse_tree("t.yml", "a: &a\n  - *a\n").expect_err("it has no end").to_string();
    assert!(error.starts_with("t.yml:2:5: error: cannot be read as YAML or JSON: alias stands for a value"), "{error}");
}

#[test]
fn that_a_file_is_broken_further_down_is_said_before_what_is_in_the_wrong_place() {
    let error = parse_tree("t.yml", "[a]: 1\nb: [c\n").expect_err("it is broken").to_string();
    assert!(error.contains("cannot be read as YAML or JSON"), "{error}");
    let error = parse_tree("t.yml", "a: {<<: 1, [b]: 2}\n").expect_err("two are wrong").to_string();
    assert!(error.starts_with("t.yml:1:9:"), "the first of them: {error}");
}

#[test]
fn what_aliases_stand_for_counts_in_depth_and_in_text() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = |depth| format!("a: &a {}\nb: {}*a{}\n", nested(20), "[".repeat(depth), "]".repeat(depth));
    parse_tree("t.yml", &text(DEPTH_MAX - 21)).expect("as deep as allowed");
    let error = parse_tree("t.yml", &text(DEPTH_MAX - 20)).expect_err("too deep").to_string();
    assert!(error.starts_with("t.yml:2:8: error: lists and maps are nested deeper"), "{error}");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(INPUT_BYTES_MAX / 2), vec!["*a"; 16].join(", "));
    let error = parse_tree("t.yml", &long).expect_err("16 times half a MiB").to_string();
    assert!(error.contains("counting what its aliases stand for"), "{error}");
}
