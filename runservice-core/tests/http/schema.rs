//! Does a value fit a schema? As much of JSON Schema as the document uses; anything else is a panic.

use serde_json::Value;

/// What does not fit, with its place.
pub(crate) fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    check(document, schema, value, "$").err()
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fields = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Bool(false) => return Err(format!("{at}: nothing fits")),
        schema => schema.as_object().expect("a schema is an object"),
    };
    for (keyword, rule) in fields {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().expect("text").trim_start_matches('#');
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is in the document"));
                check(document, target, value, at)?;
            }
            "type" => {
                let fits = |kind: &Value| is(value, kind.as_str().expect("text"));
                if !rule.as_array().map_or_else(|| fits(rule), |kinds| kinds.iter().any(fits)) {
                    return Err(format!("{at}: {value} is no {rule}"));
                }
            }
            "const" if rule != value => return Err(format!("{at}: {value} is not {rule}")),
            "enum" if !rule.as_array().expect("a list").contains(value) => {
                return Err(format!("{at}: {value} is none of {rule}"));
            }
            "required" => {
                for name in rule.as_array().expect("a list") {
                    let name = name.as_str().expect("text");
                    if value.is_object() && value.get(name).is_none() {
                        return Err(format!("{at}: `{name}` is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("an object") {
                    if let Some(field) = value.get(name) {
                        check(document, schema, field, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = |name: &str| fields.get("properties").is_some_and(|known| known.get(name).is_some());
                for (name, field) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    check(document, rule, field, &format!("{at}.{name}"))?;
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{index}]"))?;
                }
            }
            "allOf" => {
                for rule in rule.as_array().expect("a list") {
                    check(document, rule, value, at)?;
                }
            }
            "anyOf" | "oneOf" => {
                let tried: Vec<_> = rule.as_array().expect("a list").iter().collect();
                let errors: Vec<_> = tried.iter().filter_map(|rule| check(document, rule, value, at).err()).collect();
                let fit = tried.len() - errors.len();
                if fit == 0 || (keyword == "oneOf" && fit != 1) {
                    return Err(format!("{at}: fits {fit} of {}: {}", tried.len(), errors.join("; ")));
                }
            }
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                return Err(format!("{at}: {value} is less than {rule}"));
            }
            "maximum" if value.as_f64() > rule.as_f64() && value.is_number() => {
                return Err(format!("{at}: {value} is more than {rule}"));
            }
            "const" | "enum" | "minimum" | "maximum" => {}
            "title" | "description" | "default" | "format" | "uniqueItems" => {}
            keyword => panic!("{at}: `{keyword}` is not known here"),
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("`{kind}` is no type"),
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({ "a": { "type": "integer" } });
    let schema = serde_json::json!({
        "type": "object", "required": ["n"], "additionalProperties": false,
        "properties": { "n": { "$ref": "#/a" }, "l": { "type": "array", "items": { "anyOf": [{ "const": 1 }] } } },
    });
    let fits = |value| misfit(&document, &schema, &value).is_none();
    assert!(fits(serde_json::json!({ "n": 1, "l": [1] })));
    for bad in [
        serde_json::json!({}),
        serde_json::json!({ "n": "1" }),
        serde_json::json!({ "n": 1, "x": 1 }),
        serde_json::json!({ "n": 1, "l": [2] }),
    ] {
        assert!(!fits(bad.clone()), "{bad}");
    }
}
