//! The server that leads is killed while tasks run: what runs elsewhere goes on, and another server leads.

use std::time::Duration;

use serde_json::Value;

use crate::{
    servers::{House, LEASE_SECONDS, wait_until_ok},
    support::{Server, wait_for, wait_for_end, wait_for_no_process_of, wait_for_run},
};

/// Three tasks, each of which waits until somebody makes a file with its name.
fn definition(house: &House) -> String {
    let gate = house.path("gate");
    let gate = gate.display();
    let task = |name: &str| {
        format!(
            "
      - name: {name}
        runtime:
          containers: [{{image: any}}]
        steps:
          - run: echo {name} has begun; until [ -e {gate}-{name} ]; do sleep 0.1; done; echo {name} is done"
        )
    };
    format!("version: v1\nruns:\n  - name: long\n    tasks:{}", ["one", "two", "three"].map(task).concat())
}

const SHORT: &str = "
version: v1
runs:
  - name: short
    tasks:
      - name: only
        runtime:
          containers: [{image: any}]
        steps:
          - run: echo short
";

fn tasks(server: &Server, number: &str) -> Vec<Value> {
    let run = server.json(&["runs", "show", number, "--project", "hello"]);
    run["tasks"].as_array().expect("a list").clone()
}

fn task(server: &Server, name: &str) -> Value {
    tasks(server, "1").into_iter().find(|task| task["name"] == name).expect("a task")
}

/// The names of the tasks that run, each with its executor.
fn running(server: &Server) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let running = tasks(server, "1").into_iter().filter(|task| task["status"] == "running");
    running.map(|task| (text(&task["name"]), text(&task["executor"]))).collect()
}

#[test]
fn when_the_leader_is_killed_the_other_server_goes_on_and_nothing_is_lost() {
    let house = House::new(None);
    let a = house.server("a");
    wait_for("the leader", || match house.log("a") {
        log if log.contains("this process places the tasks now") => Ok(()),
        log => Err(log),
    });
    let b = house.server("b");
    a.json(&["project", "create", "hello"]);
    wait_until_ok(&b, &["runs", "list", "--project", "hello"]);
    let work = house.work();
    work.commit(&definition(&house), "wait");
    work.git(&["push", "-q", &a.git_url(), "main"]);
    for server in [&a, &b] {
        wait_for_run(server, "1");
    }
    // One slot here and one there: the second task goes to the other server.
    let both = wait_for("two tasks to run", || match running(&b) {
        running if running.len() == 2 => Ok(running),
        running => Err(format!("{running:?}")),
    });
    assert_ne!(both[0].1, both[1].1, "{both:?}");
    let id_of_a = std::fs::read_to_string(house.path("a").join("executor/id")).expect("an id");
    let [on_a, on_b] = [true, false].map(|is_a| {
        both.iter().find(|(_, executor)| (executor == id_of_a.trim()) == is_a).expect("one of each").0.clone()
    });

    let waits = ["one", "two", "three"].into_iter().find(|name| both.iter().all(|(task, _)| task != name));
    let waits = waits.expect("one of three");

    a.kill();
    let killed = tokio::time::Instant::now();
    let within = |what: &str| {
        let elapsed = killed.elapsed();
        assert!(elapsed < Duration::from_secs(LEASE_SECONDS + 7), "{what} took {elapsed:?}");
    };
    // A push becomes a run without the server that handled pushes.
    work.commit(SHORT, "short");
    work.git(&["push", "-q", &b.git_url(), "main:other"]);
    wait_for_run(&b, "2");
    within("the run of a push");
    // What runs elsewhere goes on; what waited is placed, and so is what is new, by a server that could not before.
    std::fs::write(house.path(&format!("gate-{on_b}")), "").expect("written");
    std::fs::write(house.path(&format!("gate-{waits}")), "").expect("written");
    assert_eq!(wait_for_end(&b, "2")["result"], "success");
    wait_for("the task of the server that lives", || match [task(&b, &on_b), task(&b, waits)] {
        ended if ended.iter().all(|task| task["status"] == "success") => Ok(()),
        tasks => Err(format!("{tasks:?}")),
    });
    assert_eq!(task(&b, &on_a)["status"], "running", "its supervisor goes on, and nobody knows how it ends");

    // The server is back, and with it the executor that knows.
    let a = house.server("a");
    std::fs::write(house.path(&format!("gate-{on_a}")), "").expect("written");
    for server in [&b, &a] {
        assert_eq!(wait_for_end(server, "1")["result"], "success");
        let log = server.ok(&["logs", "1", &on_a, "--step", "0", "--project", "hello"]);
        assert_eq!(log, format!("{on_a} has begun\n{on_a} is done\n"));
    }

    let said = house.log("b");
    for expected in
        ["this process places the tasks now", "a process has ended", "this process makes runs out of pushes now"]
    {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
    for server in [a, b] {
        server.end();
    }
    for name in ["a", "b"] {
        wait_for_no_process_of(&house.path(name));
    }
}
