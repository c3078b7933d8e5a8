//! Which variables does every task see?

use runyard_executor_core::contract::{Environment, Value};

use super::CompileContext;

/// The beginnings of the names; each variable is set under both.
const PREFIXES: [&str; 2] = ["AGOLA_", "RUNYARD_"];

/// The variables of every task. `RUN_COUNTER` is missing: a run has no number before it is created.
pub(super) fn static_environment(context: &CompileContext) -> Environment {
    let port = if context.git_port.is_empty() { "22" } else { &context.git_port };
    let skip = if context.skip_ssh_host_key_check { "1" } else { "" };
    let pairs = [
        ("REPOSITORY_URL", context.repository_url.as_str()),
        ("GIT_HOST", &context.git_host),
        ("GIT_PORT", port),
        ("GIT_BRANCH", &context.branch),
        ("GIT_TAG", &context.tag),
        ("PULL_REQUEST_ID", &context.pull_request_id),
        ("GIT_REF_TYPE", context.ref_type.as_str()),
        ("GIT_REF", &context.git_ref),
        ("GIT_COMMITSHA", &context.commit_sha),
        ("SSHHOSTKEY", &context.ssh_host_key),
        ("SKIPSSHHOSTKEYCHECK", skip),
    ];
    let mut environment = Environment::from([("CI".to_owned(), Value::from("true"))]);
    for (name, value) in pairs {
        insert(&mut environment, name, &Value::from(value));
    }
    environment
}

/// The variables that a task which clones sees besides.
pub(super) fn clone_environment(context: &CompileContext) -> Environment {
    let mut environment = Environment::new();
    if let Some(key) = context.ssh_private_key.as_ref().filter(|_| !context.from_fork) {
        insert(&mut environment, "SSHPRIVKEY", &Value::secret(key));
    }
    environment
}

fn insert(environment: &mut Environment, name: &str, value: &Value) {
    for prefix in PREFIXES {
        environment.insert(format!("{prefix}{name}"), value.clone());
    }
}
