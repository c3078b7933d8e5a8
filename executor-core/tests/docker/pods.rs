//! What do the containers of a pod have in common, and what has each for itself?

use runyard_executor_core::contract::{AttemptState, TmpfsVolume};

use crate::{
    engines::{Engine, busybox, busybox_task},
    house::{id, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn services_are_in_the_network_of_the_steps() {
    for engine in [Engine::Docker, Engine::Podman] {
        let house = engine.house().await;
        let wait = "for i in $(seq 200); do wget -q -O- http://127.0.0.1:7000/etc/group && exit; sleep 0.05; done 2>/dev/null; exit 1";
        let mut task = busybox_task("t", [run(wait)]);
        let mut service = busybox();
        service.entrypoint = Some("/bin/httpd -f -p 7000 -h /".into());
        task.runtime.containers.push(service);
        let report = house.execute(task).await;
        assert_eq!(report.state, AttemptState::Success, "{engine:?}: {}", house.log(&id("t"), 0));
        assert!(house.log(&id("t"), 0).starts_with("root:"), "{engine:?}");
        house.assert_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entrypoint_of_the_first_container_runs_beside_the_steps() {
    let house = Engine::Docker.house().await;
    let mut task = busybox_task("t", [run("while ! test -e /tmp/made; do sleep 0.05; done; echo made")]);
    task.runtime.containers[0].entrypoint = Some("touch /tmp/made".into());
    let report = house.execute(task).await;
    assert_eq!(report.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), 0), "made\n");
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_memory_has_its_limit() {
    for engine in [Engine::Docker, Engine::Podman] {
        let house = engine.house().await;
        let command = "grep ' /scratch tmpfs ' /proc/mounts | grep -o size=1024k; \
                       ! dd if=/dev/zero of=/scratch/big bs=1M count=2 2>/dev/null";
        let mut task = busybox_task("t", [run(command)]);
        task.runtime.containers[0].volumes = vec![TmpfsVolume { path: "/scratch".into(), size_max: 1 << 20 }];
        let report = house.execute(task).await;
        assert_eq!(report.state, AttemptState::Success, "{engine:?}");
        assert_eq!(house.log(&id("t"), 0), "size=1024k\n", "{engine:?}");
        house.assert_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_as_the_nearest_user_in_a_home_of_theirs() {
    let house = Engine::Docker.house().await;
    let mut task = busybox_task("t", [run("id -un; pwd; touch file; stat -c %U . file; echo $HOME")]);
    task.user = Some("ci".into());
    let report = house.execute(task).await;
    assert_eq!(report.state, AttemptState::Success, "{}", house.setup_log(&id("t")));
    assert_eq!(house.log(&id("t"), 0), "ci\n/home/ci/project\nci\nci\n/home/ci\n");
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_is_privileged_and_no_other() {
    let house = Engine::Docker.house().await;
    let mount = "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m 2>/dev/null && echo mounted || echo refused";
    let mut task = busybox_task("privileged", [run(mount)]);
    task.runtime.containers[0].privileged = true;
    house.execute(task).await;
    house.execute(busybox_task("plain", [run(mount)])).await;
    assert_eq!(house.log(&id("privileged"), 0), "mounted\n");
    assert_eq!(house.log(&id("plain"), 0), "refused\n");
    house.assert_clean().await;
}
