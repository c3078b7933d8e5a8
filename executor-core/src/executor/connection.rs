//! When does an executor act? Woken by commands, by the end of a task, by a change of its limit, by silence.

use std::{pin::pin, sync::Arc};

use futures::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Executor, ExecutorError,
    context::{Context, Link},
    disk,
    tasks::Tasks,
};
use crate::{
    contract::{ClientError, Command, ExecutorStatus, HeldTask, Registration},
    driver::{DriverError, Pod},
};

/// Why a connection ended, other than by an error of the executor.
enum End {
    Shutdown,
    /// Register again.
    Broken(ClientError),
    /// What it takes has changed, which the run service learns by a registration.
    LimitChanged,
}

/// Runs an executor until it is shut down.
pub(super) async fn run(executor: &Executor, shutdown: CancellationToken) -> Result<(), ExecutorError> {
    let context = &executor.context;
    let preparing = |source| ExecutorError::Driver { doing: "preparing", source };
    context.driver.prepare(&context.home.id).await.map_err(preparing)?;
    let mut tasks = Tasks::new(context.clone(), executor.held.clone());
    recover(context, &mut tasks).await?;
    let ended = stay_connected(executor, &mut tasks, &shutdown).await;
    // Whatever is being done on other threads has ended when this returns.
    tasks.abandon().await;
    ended
}

/// Registers, and serves the registration, again and again.
async fn stay_connected(
    executor: &Executor,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> Result<(), ExecutorError> {
    let context = &executor.context;
    let mut heard = Instant::now();
    let mut backoff = context.backoff();
    loop {
        let Some(registration) = connect(executor, tasks, shutdown, &mut heard).await else { return Ok(()) };
        match registration {
            Ok(registration) => {
                heard = Instant::now();
                backoff = context.backoff();
                context.link.send_replace(Link::Registered { epoch: registration.epoch });
                let served = serve(executor, registration, tasks, shutdown, &mut heard).await;
                context.link.send_replace(Link::Connecting);
                match served? {
                    End::Shutdown => return Ok(()),
                    End::LimitChanged => continue,
                    End::Broken(error) => tracing::warn!(%error, "the connection to the run service broke"),
                }
            }
            Err(Failed::Client(error)) if !error.is_retryable() => return Err(ExecutorError::Refused(error)),
            Err(Failed::Client(error)) => tracing::warn!(%error, "cannot register with the run service"),
            // An engine or a cluster that is just being restarted. At the start `prepare` says whether there is any.
            Err(Failed::Executor(ExecutorError::Driver { doing, source: source @ DriverError::Failed { .. } })) => {
                tracing::warn!(error = source.user_message(), "cannot register: the driver failed while {doing}");
            }
            Err(Failed::Executor(error)) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = backoff.wait(&context.random) => {}
        }
    }
}

/// Registers once; meanwhile tasks end, and silence counts. Nothing if it is shut down.
async fn connect(
    executor: &Executor,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
    heard: &mut Instant,
) -> Option<Result<Registration, Failed>> {
    let mut registering = pin!(register(executor, tasks.held()));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return None,
            registration = &mut registering => return Some(registration),
            () = tasks.ended() => {}
            () = silence(executor, *heard) => {
                tasks.give_up();
                *heard = Instant::now();
            }
        }
    }
}

/// Completes when the run service may have given the executor's tasks up.
async fn silence(executor: &Executor, heard: Instant) {
    tokio::time::sleep_until(heard + executor.context.settings.lost_after).await;
}

/// Takes up what the journal knows, and removes the pods that it does not know.
async fn recover(context: &Arc<Context>, tasks: &mut Tasks) -> Result<(), ExecutorError> {
    let entries = context.journal.entries().map_err(|source| ExecutorError::Directory {
        dir: context.home.dir.clone(),
        doing: "reading the journal",
        source,
    })?;
    let finding = |source| ExecutorError::Driver { doing: "finding pods that are left", source };
    let mut pods: Vec<Arc<dyn Pod>> = context.driver.pods(&context.home.id).await.map_err(finding)?;
    for entry in entries {
        let pod = pods.iter().position(|pod| *pod.id() == entry.pod).map(|at| pods.swap_remove(at));
        tasks.resume(entry, pod);
    }
    for pod in pods {
        tracing::warn!(pod = %pod.id(), task = %pod.task(), "removing the pod of an unknown task");
        if let Err(error) = pod.remove().await {
            tracing::error!(pod = %pod.id(), error = error.user_message(), "cannot remove a pod");
        }
    }
    Ok(())
}

enum Failed {
    Client(ClientError),
    Executor(ExecutorError),
}

async fn register(executor: &Executor, held: Vec<HeldTask>) -> Result<Registration, Failed> {
    let context = &executor.context;
    look_at_disk(executor);
    let asking = |doing| move |source| Failed::Executor(ExecutorError::Driver { doing, source });
    let status = ExecutorStatus {
        id: context.home.id.clone(),
        name: executor.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        group: context.driver.group(&context.home.id).await.map_err(asking("asking for its group"))?,
        siblings: context.driver.siblings(&context.home.id).await.map_err(asking("asking for siblings"))?,
        archs: context.driver.archs().await.map_err(asking("asking for architectures"))?,
        labels: executor.labels.clone(),
        allow_privileged_containers: context.settings.allow_privileged_containers,
        task_limit: *executor.task_limit.borrow(),
        dynamic: context.settings.dynamic,
        not_ready: executor.not_ready.borrow().clone(),
        held,
    };
    context.client.register(status).await.map_err(Failed::Client)
}

/// Serves one registration until it ends.
async fn serve(
    executor: &Executor,
    registration: Registration,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
    heard: &mut Instant,
) -> Result<End, ExecutorError> {
    let context = &executor.context;
    let replaced = || ExecutorError::Replaced { executor: context.home.id.clone() };
    let Registration { epoch, mut commands } = registration;
    let mut limit = executor.task_limit.subscribe();
    let mut not_ready = executor.not_ready.subscribe();
    let mut heartbeat = pin!(heartbeat(context, epoch));
    loop {
        let current = *limit.borrow_and_update();
        if current == 0 {
            tasks.drop_waiting();
        }
        tasks.fill(current);
        if *executor.ends_when_idle.borrow() && tasks.is_empty() {
            tracing::info!("ending, as the run service asked for: all tasks have ended");
            return Ok(End::Shutdown);
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(End::Shutdown),
            command = commands.next() => match command {
                Some(Ok(Command::Drain)) => {
                    executor.ends_when_idle.send_replace(true);
                    if executor.task_limit.send_replace(0) != 0 {
                        return Ok(End::LimitChanged);
                    }
                }
                Some(Ok(command)) => tasks.obey(command, current),
                Some(Err(error)) if error.is_retryable() => return Ok(End::Broken(error)),
                Some(Err(ClientError::Replaced { .. })) | None => return Err(replaced()),
                Some(Err(error)) => return Err(ExecutorError::Refused(error)),
            },
            () = tasks.ended() => {}
            _ = limit.changed() => return Ok(End::LimitChanged),
            _ = not_ready.changed() => return Ok(End::LimitChanged),
            beaten = &mut heartbeat => {
                match beaten {
                    Ok(()) => *heard = Instant::now(),
                    Err(ClientError::Replaced { .. }) => return Err(replaced()),
                    Err(error) => return Ok(End::Broken(error)),
                }
                look_at_disk(executor);
                heartbeat.set(self::heartbeat(context, epoch));
            }
            () = silence(executor, *heard) => {
                tasks.give_up();
                *heard = Instant::now();
            }
        }
    }
}

/// Notes whether there is room for more tasks. With each heartbeat: a file system tells nobody when it fills.
fn look_at_disk(executor: &Executor) {
    let Context { home, settings, .. } = &*executor.context;
    executor.not_ready.send_if_modified(|not_ready| {
        let now = disk::not_ready(&home.dir, settings.disk_free_min, not_ready.is_some());
        let changed = now.is_some() != not_ready.is_some();
        if changed {
            tracing::warn!(not_ready = now.as_deref().unwrap_or("no longer"), "the room on the disk has changed");
            *not_ready = now;
        }
        changed
    });
}

/// One heartbeat, after a pause. A pause, because what is detected is silence, and nothing wakes one for that.
async fn heartbeat(context: &Context, epoch: u64) -> Result<(), ClientError> {
    tokio::time::sleep(context.settings.heartbeat_interval).await;
    context.client.heartbeat(&context.home.id, epoch).await
}
