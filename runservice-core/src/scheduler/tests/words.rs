//! What users read.

use runyard_executor_core::contract::{Arch, TaskName};

use super::labels;
use crate::scheduler::{ApprovalPolicy, WaitingReason};

#[test]
fn every_reason_is_a_phrase_for_users_and_reads_back_from_json() {
    let name = |name: &str| TaskName::parse(name).unwrap();
    let x = || vec!["X".to_owned()];
    let table = [
        (WaitingReason::WaitingForRun { number: 41 }, "waiting for run #41 of the same group"),
        (WaitingReason::WaitingForTasks { tasks: vec![name("a"), name("b")] }, "waiting for `a`, `b`"),
        (WaitingReason::WaitingForApproval { have: 1, need: 2 }, "waiting for approval: 1 of 2"),
        (WaitingReason::NoExecutor, "no executor is registered"),
        (WaitingReason::NoExecutorForArch { arch: Arch::X86 }, "no executor with arch 386"),
        (WaitingReason::NoPrivileged { arch: None }, "no executor allows privileged containers"),
        (
            WaitingReason::NoPrivileged { arch: Some(Arch::Arm64) },
            "no executor with arch arm64 allows privileged containers",
        ),
        (
            WaitingReason::NoLabels { labels: labels(&[("disk", "fast"), ("zone", "eu")]) },
            "no executor that could run it has the labels `disk=fast`, `zone=eu`",
        ),
        (WaitingReason::AllDraining { executors: x() }, "every executor that could run it takes no new tasks: `X`"),
        (WaitingReason::AllSilent { executors: x() }, "every executor that could run it is silent: `X`"),
        (
            WaitingReason::AllNotReady { executors: labels(&[("X", "its disk is full")]) },
            "every executor that could run it is not ready: `X` (its disk is full)",
        ),
        (WaitingReason::AllFull { executors: 1 }, "the only executor that could run it is full"),
        (WaitingReason::AllFull { executors: 3 }, "all 3 executors that could run it are full"),
        (WaitingReason::ExecutorSilent { executor: "X".to_owned(), seconds: 25 }, "executor `X` silent for 25 s"),
        (WaitingReason::Other { message: "frozen".to_owned() }, "frozen"),
    ];
    for (reason, expected) in table {
        assert_eq!(reason.to_string(), expected);
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<WaitingReason>(&json).unwrap(), reason);
    }
}

#[test]
fn an_annotation_that_is_no_list_holds_nobody_and_the_next_approver_replaces_it() {
    let policy = ApprovalPolicy::new("reviewers");
    for broken in ["", "ann", "{}", "[1]", r#"["ann""#] {
        let annotations = labels(&[("reviewers", broken), ("approvers", r#"["bob"]"#)]);
        assert!(policy.approvers(&annotations).is_empty(), "{broken}");
        assert_eq!(policy.with_approver(&annotations, "cy").as_deref(), Some(r#"["cy"]"#));
    }
}
