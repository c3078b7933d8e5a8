//! Steps under real supervisors.

use std::{process::Command, time::Duration};

use runyard_toolbox::protocol::{ClientFrame, ServerFrame};
use runyard_toolbox::{ExitReason, ExitStatus, StepCommand, StepDir, SuperviseSpec, kill_marked};

use crate::support::{Gate, Step, TOOLBOX, is_running, pids, script};

fn exited(code: i32, output: &[u8]) -> ExitStatus {
    let output_end = output.len() as u64;
    ExitStatus { code, signal: None, reason: ExitReason::Exited, message: None, output_end, nothing_left: true }
}

fn lines(output: &[u8]) -> usize {
    output.iter().filter(|&&byte| byte == b'\n').count()
}

#[test]
fn output_and_exit_code_are_there_after_the_supervisor_has_left() {
    for code in [0, 3, 255] {
        let (output, status) = Step::run(&script(&format!("echo out; echo err >&2; exit {code}")));
        assert_eq!(output, b"out\nerr\n");
        assert_eq!(status, exited(code, &output));
    }
}

#[test]
fn a_signal_is_told_as_128_and_its_number() {
    let (_, status) = Step::run(&script("kill -9 $$"));
    assert_eq!((status.code, status.signal, status.reason), (137, Some(9), ExitReason::Exited));
}

#[test]
fn what_cannot_be_started_says_why() {
    let not_started = |spec: &SuperviseSpec| {
        let (output, status) = Step::run(spec);
        assert_eq!((output.len(), status.reason), (0, ExitReason::FailedToStart));
        (status.code, status.message.unwrap())
    };
    let argv = |program: &str| SuperviseSpec::new(StepCommand::Argv(vec![program.into()]), "/");
    assert_eq!(not_started(&argv("no-such-program")), (127, "command not found: no-such-program".into()));
    assert_eq!(not_started(&argv("/etc/passwd")), (126, "permission denied: /etc/passwd".into()));

    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("script").to_str().unwrap().to_owned();
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(not_started(&argv(&program)), (127, format!("the interpreter of {program} was not found")));

    let mut spec = script("true");
    spec.working_dir = "/no/such/dir".into();
    assert_eq!(not_started(&spec), (126, "working directory not found: /no/such/dir".into()));

    let mut spec = script("true");
    spec.user = Some("no-such-user".into());
    assert_eq!(not_started(&spec), (126, "user `no-such-user` is not in /etc/passwd of this pod".into()));
}

#[test]
fn the_environment_is_the_given_one_and_nothing_else() {
    let mut spec = SuperviseSpec::new(StepCommand::Argv(vec!["/usr/bin/env".into()]), "/");
    spec.environment.insert("A".into(), "1 2\n3".into());
    assert_eq!(Step::run(&spec).0, b"A=1 2\n3\n");
}

#[test]
fn a_shell_reads_the_command_file_of_the_step() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("step");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("command"), "echo in $PWD\nfalse\necho not reached\n").unwrap();
    let shell = vec!["/bin/sh".into(), "-e".into()];
    let mut spec = SuperviseSpec::new(StepCommand::Shell { shell, file: "command".into() }, "~/below");
    spec.environment.insert("HOME".into(), root.path().to_str().unwrap().into());
    std::fs::create_dir(root.path().join("below")).unwrap();
    let below = root.path().join("below").canonicalize().unwrap();
    let (output, status) = Step::start_in(root, dir, &spec).left();
    assert_eq!(String::from_utf8(output).unwrap(), format!("in {}\n", below.display()));
    assert_eq!(status.code, 1);
}

#[test]
fn a_step_with_a_user_runs_as_that_user_or_says_that_it_may_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("step");
    std::fs::create_dir(&dir).unwrap();
    let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(root.path(), passable).unwrap();
    std::fs::write(dir.join("command"), "id -u; id -g\n").unwrap();
    let file = StepCommand::Shell { shell: vec!["/bin/sh".into()], file: "command".into() };
    let mut spec = SuperviseSpec::new(file, "/");
    spec.user = Some("12345:54321".into());
    spec.environment.insert("PATH".into(), "/usr/bin:/bin".into());
    let (output, status) = Step::start_in(root, dir, &spec).left();
    if rustix::process::geteuid().is_root() {
        assert_eq!(String::from_utf8(output).unwrap(), "12345\n54321\n", "{status:?}");
    } else {
        assert_eq!(status.reason, ExitReason::FailedToStart);
        assert!(status.message.unwrap().starts_with("cannot run as user `12345:54321`: "));
    }
}

#[test]
fn a_command_has_a_terminal_only_if_it_is_to_have_one() {
    let mut spec = script("test -t 1 && stty size </dev/tty || echo no terminal");
    assert_eq!(Step::run(&spec).0, b"no terminal\n");
    spec.tty = true;
    assert_eq!(Step::run(&spec).0, b"24 80\r\n");
    let mut spec = script("echo to the terminal >/dev/tty");
    spec.tty = true;
    assert_eq!(Step::run(&spec).0, b"to the terminal\r\n", "it is the controlling one");
}

#[test]
fn a_command_that_reads_its_input_meets_its_end() {
    for tty in [false, true] {
        let mut spec = script("cat; read line || echo nobody types");
        spec.tty = tty;
        let output = Step::run(&spec).0;
        assert_eq!(String::from_utf8(output).unwrap().trim_end(), "nobody types", "tty: {tty}");
    }
}

#[test]
fn all_output_of_a_terminal_is_kept() {
    let mut spec = script("seq 1 20000");
    spec.tty = true;
    let expected: String = (1..=20_000).map(|line| format!("{line}\r\n")).collect();
    assert!(Step::run(&spec).0 == expected.as_bytes());
}

#[test]
fn a_client_streams_from_any_offset_while_the_command_runs() {
    let gate = Gate::new();
    let step = Step::start(&script(&format!("seq 1 50000; {}; seq 1 50000", gate.wait())));
    let half: Vec<u8> = (1..=50_000).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    let whole = [half.clone(), half.clone()].concat();

    let mut first = step.connect();
    first.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    first.read_until(&mut output, |output| output.len() >= half.len());
    assert!(output == half);

    let mut second = step.connect();
    second.send(ClientFrame::Attach { offset: 12_345 });
    assert!(
        matches!(first.receive(), Some(ServerFrame::Error { .. })),
        "the first client is told that it was displaced"
    );
    gate.open();
    let (output, status) = second.read_to_exit(12_345);
    assert!(output == whole[12_345..]);
    assert_eq!(status, exited(0, &whole));
}

#[test]
fn output_is_pushed_while_the_command_waits() {
    let step = Step::start(&script("echo first; exec sleep 1000"));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| output == b"first\n");
}

#[test]
fn a_full_spool_blocks_the_command_until_output_is_acknowledged() {
    const MAX: u64 = 100_000;
    let mut spec = script("head -c 3000000 /dev/zero; echo done");
    spec.output_max = MAX;
    let step = Step::start(&spec);
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| output.len() as u64 >= MAX);
    for _ in 0..50 {
        assert_eq!(client.output_end(), MAX, "nothing is read while nothing is acknowledged");
    }
    client.send(ClientFrame::Ack { offset: MAX });
    let (rest, status) = client.read_to_exit(MAX);
    assert_eq!((output.len() + rest.len(), status.output_end), (3_000_005, 3_000_005));
    assert!(rest.ends_with(b"\0done\n"));
    assert!(step.dir.read_spool(0).is_err(), "what is acknowledged is deleted");
}

#[test]
fn what_was_acknowledged_is_not_streamed_again() {
    let step = Step::start(&script("echo 12345; exec sleep 1000"));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    client.read_until(&mut Vec::new(), |output| output.len() == 6);
    client.send(ClientFrame::Ack { offset: 4 });
    client.send(ClientFrame::Attach { offset: 3 });
    let message = "offset 3 is outside of the output that is kept, 4 to 6".into();
    assert_eq!(client.receive(), Some(ServerFrame::Error { message }));
    client.send(ClientFrame::Attach { offset: 4 });
    assert_eq!(client.receive(), Some(ServerFrame::Output { offset: 4, bytes: b"5\n".to_vec() }));
}

#[test]
fn bytes_that_are_no_frame_end_only_the_connection() {
    use std::io::Write as _;
    let step = Step::start(&script("exec sleep 1000"));
    let mut stream = step.dir.connect().unwrap();
    stream.write_all(&[0xff; 100]).unwrap();
    let mut answer = Vec::new();
    // Closing with unread bytes resets the connection, after the answer or instead of it.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    let mut client = step.connect();
    assert_eq!(client.output_end(), 0, "the supervisor still answers");
}

#[test]
fn a_stopped_step_keeps_what_it_printed_and_has_its_grace() {
    let step = Step::start(&script("trap 'echo cleaned up; exit 7' TERM; echo started; while :; do :; done"));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    client.read_until(&mut Vec::new(), |output| output == b"started\n");
    client.send(ClientFrame::Stop { grace_ms: 60_000 });
    let (output, status) = client.read_to_exit(8);
    assert_eq!(output, b"cleaned up\n");
    assert_eq!((status.code, status.reason), (7, ExitReason::Stopped));
}

#[test]
fn after_the_grace_the_whole_tree_is_killed_whoever_left_it() {
    // One ignores SIGTERM, one has its own session, one has lost its parent.
    let tree = "trap '' TERM; echo $$
        setsid sh -c 'echo $$; while :; do sleep 1000; done' &
        (sh -c 'echo $$; while :; do sleep 1000; done' &)
        (setsid sh -c 'echo $$; exec sleep 1000' &)
        while :; do sleep 1000; done";
    let step = Step::start(&script(tree));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| lines(output) == 4);
    assert!(pids(&output).into_iter().all(is_running));
    client.send(ClientFrame::Stop { grace_ms: 50 });
    let (_, status) = client.read_to_exit(output.len() as u64);
    assert_eq!((status.code, status.signal, status.reason), (137, Some(9), ExitReason::Stopped));
    assert!(!pids(&output).into_iter().any(is_running));
}

#[test]
fn a_step_that_no_client_touches_is_stopped_as_lost() {
    let mut spec = script("echo alone; exec sleep 1000");
    spec.lost_after = Duration::from_millis(100);
    let (output, status) = Step::run(&spec);
    assert_eq!(output, b"alone\n");
    assert_eq!((status.code, status.reason), (143, ExitReason::Lost));
}

#[test]
fn a_client_that_is_connected_but_silent_does_not_hold_a_lost_step() {
    let mut spec = script("exec sleep 1000");
    spec.lost_after = Duration::from_millis(100);
    let mut step = Step::start(&spec);
    let _silent = step.connect();
    assert_eq!(step.left().1.reason, ExitReason::Lost);
}

#[test]
fn a_process_in_the_background_neither_holds_the_step_nor_dies_with_it() {
    let gate = Gate::new();
    let step = Step::start(&script(&format!("{}; (while :; do echo line; done) & echo $!; exit 4", gate.wait())));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    gate.open();
    let (output, status) = client.read_to_exit(0);
    assert_eq!((status.code, status.nothing_left), (4, false));
    let survivors = step.dir.survivors().unwrap();
    let background = pids(&output)[0];
    assert!(survivors.iter().any(|survivor| survivor.pid == background), "{survivors:?}");
    assert_eq!(client.receive(), None, "nobody is served any more");
    assert!(step.dir.connect().is_err());
    assert!(is_running(background));
    assert!(step.dir.is_supervisor_alive().unwrap(), "it takes what the survivor prints");
    assert_eq!(step.dir.kill_orphans().unwrap(), []);
    assert!(!is_running(background));
}

#[test]
fn a_step_without_survivors_lists_none() {
    let mut step = Step::start(&script("sleep 0 & wait"));
    assert!(step.left().1.nothing_left);
    assert_eq!(step.dir.survivors().unwrap(), []);
    assert!(!step.dir.is_supervisor_alive().unwrap());
}

#[test]
fn a_killed_supervisor_leaves_orphans_that_can_be_killed() {
    let mut step = Step::start(&script("echo $$; sh -c 'echo $$; exec sleep 1000' & wait"));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| lines(output) == 2);
    step.supervisor.kill().unwrap();
    step.supervisor.wait().unwrap();
    assert_eq!(client.receive(), None);
    assert!(!step.dir.is_supervisor_alive().unwrap());
    assert_eq!(step.dir.exit().unwrap(), None);
    assert!(pids(&output).into_iter().all(is_running));
    assert_eq!(step.dir.kill_orphans().unwrap(), []);
    assert!(!pids(&output).into_iter().any(is_running));
    let kept: Vec<u8> = step.dir.read_spool(0).unwrap().flat_map(|chunk| chunk.unwrap().bytes).collect();
    assert_eq!(kept, output, "what was printed before is kept");
}

#[test]
fn marked_processes_and_their_children_are_killed() {
    let mark = format!("pod-{}", std::process::id());
    let mut spec = script("(setsid sh -c 'echo $$; env -i sleep 1000; true' &) ; echo $$; exec sleep 1000");
    spec.environment.insert("RUNYARD_POD".into(), mark.clone());
    let mut step = Step::start(&spec);
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| lines(output) == 2);
    step.supervisor.kill().unwrap();
    step.supervisor.wait().unwrap();
    assert_eq!(kill_marked("RUNYARD_POD", &mark).unwrap(), []);
    assert!(!pids(&output).into_iter().any(is_running));
}

#[test]
fn a_path_longer_than_a_socket_address_is_no_obstacle() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a".repeat(200)).join("b".repeat(200));
    let step = Step::start_in(root, dir, &script("echo far away"));
    assert_eq!(step.dir.exit().unwrap().map(|status| status.code).unwrap_or(0), 0);
    let step = Step::start_in(tempfile::tempdir().unwrap(), step.dir.path().join("c"), &script("exec sleep 1000"));
    assert_eq!(step.connect().output_end(), 0);
}

#[test]
fn the_specification_with_its_secrets_is_removed() {
    let step = Step::start(&script("exec sleep 1000"));
    step.connect().output_end();
    let names = std::fs::read_dir(step.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("spec")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_step_that_was_withdrawn_is_never_started_and_one_that_was_started_cannot_be_withdrawn() {
    let root = tempfile::tempdir().unwrap();
    let spec = script(&format!("touch {}/started", root.path().display()));
    std::fs::write(root.path().join(runyard_toolbox::SPEC_FILE), serde_json::to_vec(&spec).unwrap()).unwrap();
    let dir = StepDir::open(root.path()).unwrap();
    assert!(dir.withdraw().unwrap());
    assert!(dir.withdraw().unwrap(), "nothing has begun with it since");
    let output = Command::new(TOOLBOX).arg("supervise").arg(root.path()).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("withdrawn or already started"), "{message}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);

    let running = Step::start(&script("exec sleep 1000"));
    assert!(!running.dir.withdraw().unwrap());
    let mut ended = Step::start(&script("true"));
    ended.left();
    assert!(!ended.dir.withdraw().unwrap());
}

#[test]
fn whoever_listens_hears_of_an_end_that_cannot_be_recorded() {
    let gate = Gate::new();
    let step = Step::start(&script(&format!("echo ready; {}; exit 3", gate.wait())));
    let mut client = step.connect();
    client.send(ClientFrame::Attach { offset: 0 });
    let mut output = Vec::new();
    client.read_until(&mut output, |output| lines(output) == 1);
    // In the way, as a full disk would be.
    std::fs::create_dir(step.dir.path().join("exit.json")).unwrap();
    gate.open();
    let (rest, status) = client.read_to_exit(output.len() as u64);
    assert_eq!((rest.len(), status.code), (0, 3));
}
