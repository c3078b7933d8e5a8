//! Who approves, when is it legal, and when does it count?

use super::kit::{World, name, patch, task};
use crate::engine::{Event, Refusal};

fn as_user(task: &str, user: &str) -> Event {
    Event::Approve { task: name(task), approver: Some(user.to_owned()) }
}

#[test]
fn a_task_is_approved_by_as_many_users_as_it_asks_for() {
    let mut world = World::running([task("a").approval(2)]);
    world.approve_as("a", "ann");
    assert_eq!(world.show(), "running unknown | a=approval");
    world.approve_as("a", "bob");
    assert_eq!(world.show(), "running unknown | a=ready");
    assert_eq!(world.task("a").annotations["approvers"], r#"["ann","bob"]"#);
}

#[test]
fn a_second_approval_by_the_same_user_is_a_bad_request() {
    let mut world = World::running([task("a").approval(2)]);
    world.approve_as("a", "ann");
    let refusal = world.refused(as_user("a", "ann"));
    assert_eq!(refusal.to_string(), "`ann` has approved task `a` of run #7 already");
}

#[test]
fn an_approval_recorded_earlier_counts_when_the_wait_begins() {
    let mut world = World::running([task("a"), task("b").after("a").approval(2)]);
    world.approve_as("b", "ann");
    let listed = patch("approvers", Some(r#"["ann","bob","ann"]"#));
    world.apply(Event::SetAnnotations { task: name("b"), patch: listed });
    assert_eq!(world.show(), "running unknown | a=ready b=waits", "the record approves nothing by itself");
    world.succeed("a");
    assert_eq!(world.show(), "running unknown | a=success b=ready");
}

#[test]
fn one_user_twice_in_the_annotation_counts_once() {
    let mut world = World::running([task("a").approval(2)]);
    let listed = patch("approvers", Some(r#"["ann","ann"]"#));
    world.apply(Event::SetAnnotations { task: name("a"), patch: listed });
    assert_eq!(world.show(), "running unknown | a=approval");
}

#[test]
fn approvers_set_as_an_annotation_approve_a_task_that_waits() {
    let mut world = World::running([task("a").approval(1)]);
    world.apply(Event::SetAnnotations { task: name("a"), patch: patch("approvers", Some(r#"["ann"]"#)) });
    assert_eq!(world.show(), "running unknown | a=ready");
}

#[test]
fn outright_approval_is_legal_only_while_the_task_waits() {
    let mut world = World::running([task("a"), task("b").after("a").approval(3)]);
    let outright = Event::Approve { task: name("b"), approver: None };
    let refusal = world.refused(outright.clone());
    assert_eq!(refusal.to_string(), "task `b` of run #7 cannot be approved: it does not wait for approval");
    world.succeed("a");
    world.apply(outright.clone());
    assert_eq!(world.show(), "running unknown | a=success b=ready");
    assert!(matches!(world.refused(outright), Refusal::NotApprovable { reason: "it is approved already", .. }));
    assert!(matches!(world.refused(as_user("b", "ann")), Refusal::NotApprovable { .. }));
}

#[test]
fn what_needs_no_approval_or_will_not_run_takes_none() {
    let mut world = World::running([task("a"), task("b").skip().approval(1)]);
    assert!(matches!(
        world.refused(as_user("a", "ann")),
        Refusal::NotApprovable { reason: "it needs no approval", .. }
    ));
    assert!(matches!(world.refused(as_user("b", "ann")), Refusal::NotApprovable { reason: "it will not run", .. }));
}

#[test]
fn an_approved_task_stays_approved_for_its_next_attempts() {
    use runyard_executor_core::contract::FailureClass::Exit;
    let mut world = World::running([task("a").approval(1).retry(1, &[Exit])]);
    world.approve("a");
    world.fail("a");
    assert_eq!(world.show(), "running unknown | a=ready");
}

#[test]
fn annotations_are_set_and_removed_one_by_one() {
    let mut world = World::running([task("a")]);
    for (key, value) in [("x", Some("1")), ("y", Some("2")), ("x", None), ("z", None)] {
        world.apply(Event::SetAnnotations { task: name("a"), patch: patch(key, value) });
    }
    assert_eq!(format!("{:?}", world.task("a").annotations), r#"{"y": "2"}"#);
}
