//! What becomes of a request when a bridge ends, is silent, or is of another version?

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use runyard_toolbox::{
    ExitReason, ExitStatus,
    bridge::protocol::{BRIDGE_VERSION, FromBridge, Hello, Reply},
    protocol::{Frame as _, ServerFrame},
};

use super::{BridgedPod, Dial, Streams};
use crate::{
    contract::{Environment, FailureClass},
    driver::{DriverError, Result, StepEnd, StepEvent, StepSpec},
};

/// What one bridge says, whatever it is asked; then its stream ends, or nothing more comes.
struct Script {
    says: Vec<FromBridge>,
    ends: bool,
}

/// Starts a bridge for each script, in this order; then the pod is gone.
#[derive(Default)]
struct Scripted(Mutex<VecDeque<Script>>);

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Dial for Scripted {
    async fn dial(&self) -> Result<Streams> {
        let Some(Script { says, ends }) = self.0.lock().unwrap().pop_front() else {
            return Err(DriverError::Gone { message: "it was removed".to_owned() });
        };
        let said = stream::iter(says.into_iter().map(|frame| Ok(frame.to_bytes().into())));
        let output = if ends { said.boxed() } else { said.chain(stream::pending()).boxed() };
        Ok(Streams { input: Box::pin(tokio::io::sink()), output })
    }
}

fn hello() -> FromBridge {
    FromBridge::Hello(Hello { version: BRIDGE_VERSION })
}

fn pod(scripts: impl IntoIterator<Item = (Vec<FromBridge>, bool)>) -> BridgedPod {
    let scripts = scripts.into_iter().map(|(says, ends)| Script { says, ends }).collect();
    BridgedPod::new(Arc::new(Scripted(Mutex::new(scripts))), None, Duration::from_secs(600))
}

fn step() -> StepSpec {
    StepSpec {
        step: 0,
        command: "true".to_owned(),
        shell: vec!["/bin/sh".to_owned()],
        environment: Environment::new(),
        working_dir: "/".to_owned(),
        user: None,
        tty: false,
        secrets: Vec::new(),
    }
}

fn output(offset: u64, text: &str) -> FromBridge {
    FromBridge::Supervisor(ServerFrame::Output { offset, bytes: text.as_bytes().to_vec() })
}

fn exit(output_end: u64) -> FromBridge {
    let status =
        ExitStatus { code: 0, signal: None, reason: ExitReason::Exited, message: None, output_end, nothing_left: true };
    FromBridge::Supervisor(ServerFrame::Exit { status })
}

#[tokio::test(start_paused = true)]
async fn a_step_that_an_idle_bridge_may_have_started_before_it_ended_is_not_started_twice() {
    let pod = pod([
        (vec![hello(), FromBridge::Reply(Reply::Dir { path: "/a".into() })], true),
        (vec![hello(), FromBridge::Reply(Reply::AlreadyStarted)], false),
    ]);
    assert_eq!(pod.create_dir("~").await.unwrap(), "/a");
    pod.start_step(step()).await.expect("the first bridge had started it");
    let error = pod.start_step(step()).await.expect_err("nobody answers any more");
    assert!(matches!(&error, DriverError::Gone { message } if message == "it was removed"), "{error:?}");
    assert_eq!(error.class(), FailureClass::Lost);
    pod.stop(Duration::ZERO).await.expect("nothing runs in it");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_a_stranger_has_started_is_his() {
    let pod = pod([(vec![hello(), FromBridge::Reply(Reply::AlreadyStarted)], false)]);
    let error = pod.start_step(step()).await.expect_err("it was started");
    assert!(matches!(error, DriverError::AlreadyStarted { step: 0 }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_answer_is_an_error_and_no_wait_without_end() {
    let pod = pod([(vec![hello()], false)]);
    let error = pod.create_dir("~").await.expect_err("it is silent");
    assert!(error.user_message().contains("did not answer within 60s"), "{}", error.user_message());
}

#[tokio::test(start_paused = true)]
async fn a_toolbox_of_another_version_is_refused() {
    let other = FromBridge::Hello(Hello { version: BRIDGE_VERSION + 1 });
    let error = pod([(vec![other], false)]).create_dir("~").await.expect_err("it speaks otherwise");
    assert!(matches!(&error, DriverError::Refused { message } if message.contains("another version")), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn output_goes_on_over_the_next_bridge_and_a_pod_that_is_gone_has_lost_its_step() {
    let attached = || FromBridge::Reply(Reply::Done);
    let two = pod([
        (vec![hello(), attached(), output(0, "one ")], true),
        (vec![hello(), attached(), output(4, "two"), exit(7)], false),
    ]);
    let mut attachment = two.attach(0, 0).await.unwrap();
    let mut read = Vec::new();
    let end = loop {
        match attachment.next().await.unwrap() {
            StepEvent::Output { bytes, .. } => read.extend_from_slice(&bytes),
            StepEvent::Ended(end) => break end,
        }
    };
    assert_eq!((&read[..], end), (&b"one two"[..], StepEnd::Exited { code: 0 }));

    let one = pod([(vec![hello(), attached(), output(0, "one")], true)]);
    let mut attachment = one.attach(0, 0).await.unwrap();
    assert!(matches!(attachment.next().await.unwrap(), StepEvent::Output { .. }));
    let lost = StepEvent::Ended(StepEnd::Lost { message: "it was removed".to_owned() });
    assert_eq!(attachment.next().await.unwrap(), lost);
}
