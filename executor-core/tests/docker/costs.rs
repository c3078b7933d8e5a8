//! What does a step cost in calls of the engine?

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use runyard_executor_core::contract::AttemptState;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::{
    engines::{Engine, builder, busybox_task, house},
    house::{id, run},
};

/// Passes on what is said to the engine at `engine`, and counts the requests: each has a connection to itself.
async fn count(listener: UnixListener, engine: PathBuf, calls: Arc<AtomicUsize>) {
    while let Ok((client, _)) = listener.accept().await {
        let (engine, calls) = (engine.clone(), calls.clone());
        tokio::spawn(async move {
            let server = UnixStream::connect(engine).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let asking = async {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    let text = &buffer[..count];
                    calls
                        .fetch_add(text.windows(11).filter(|word| word == b" HTTP/1.1\r\n").count(), Ordering::Relaxed);
                    if to_server.write_all(text).await.is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown().await;
            };
            let answering = async {
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                let _ = to_client.shutdown().await;
            };
            tokio::join!(asking, answering);
        });
    }
}

/// How many calls a task with so many steps takes, from its assignment until nothing is left of it.
async fn calls_of_a_task(steps: usize) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = PathBuf::from(Engine::Docker.host().trim_start_matches("unix://"));
    let counting = tokio::spawn(count(UnixListener::bind(&socket).unwrap(), engine, calls.clone()));
    let host = format!("unix://{}", Path::new(&socket).display());
    let house = house(move || Arc::new(builder(&host).open().expect("the engine is there"))).await;
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    let before = calls.load(Ordering::Relaxed);
    let report = house.execute(busybox_task("t", (0..steps).map(|step| run(&format!("echo {step}"))))).await;
    assert_eq!(report.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), u32::try_from(steps - 1).unwrap()), format!("{}\n", steps - 1));
    house.assert_clean().await;
    counting.abort();
    calls.load(Ordering::Relaxed) - before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_step_costs_no_call_and_a_task_eight() {
    let (one, eleven) = (calls_of_a_task(1).await, calls_of_a_task(11).await);
    // The image is looked at, the container made and started, the bridge made and started; the pod is looked for, its
    // containers are listed, and the one removed; the test itself looks for pods.
    assert_eq!((one, eleven), (9, 9));
}
