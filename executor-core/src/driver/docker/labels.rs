//! How is a container marked, and what pods are there by their marks? Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bollard::models::ContainerSummary;

use crate::{
    contract::{ExecutorId, TaskId},
    driver::{PodId, PodSpec},
};

/// On the containers that install the toolbox, which belong to no pod: the executor.
const INSTALLER: &str = "runyard.installer";
const EXECUTOR: &str = "runyard.executor";
const POD: &str = "runyard.pod";
const TASK: &str = "runyard.task";
const ATTEMPT: &str = "runyard.attempt";
const CONTAINER: &str = "runyard.container";
const USER: &str = "runyard.user";
const LOST_AFTER_MS: &str = "runyard.lost-after-ms";

/// What the labels of a pod's containers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) pod: PodId,
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) executor: ExecutorId,
    /// Who steps run as that do not say; none: root.
    pub(super) user: Option<String>,
    pub(super) lost_after: Duration,
}

/// A pod by the labels of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mark: Mark,
    /// The id of its first container, if that is there.
    pub(super) main: Option<String>,
}

impl Mark {
    pub(super) fn new(spec: &PodSpec, user: Option<String>) -> Self {
        Self {
            pod: spec.id.clone(),
            task: spec.task.clone(),
            attempt: spec.attempt,
            executor: spec.executor.clone(),
            user,
            lost_after: spec.lost_after,
        }
    }

    /// The labels of the container with this index.
    pub(super) fn labels(&self, index: usize) -> HashMap<String, String> {
        let mut labels = HashMap::from([
            (EXECUTOR.to_owned(), self.executor.to_string()),
            (POD.to_owned(), self.pod.to_string()),
            (TASK.to_owned(), self.task.to_string()),
            (ATTEMPT.to_owned(), self.attempt.to_string()),
            (CONTAINER.to_owned(), index.to_string()),
            (LOST_AFTER_MS.to_owned(), self.lost_after.as_millis().to_string()),
        ]);
        if let Some(user) = &self.user {
            labels.insert(USER.to_owned(), user.clone());
        }
        labels
    }

    fn parse(labels: &HashMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).cloned();
        let number = |name: &str| labels.get(name)?.parse::<u64>().ok();
        Some(Self {
            pod: PodId::parse(label(POD)?).ok()?,
            task: TaskId::parse(label(TASK)?).ok()?,
            attempt: u32::try_from(number(ATTEMPT)?).ok()?,
            executor: ExecutorId::parse(label(EXECUTOR)?).ok()?,
            user: label(USER),
            lost_after: Duration::from_millis(number(LOST_AFTER_MS)?),
        })
    }
}

/// The labels of a container that installs the toolbox.
pub(super) fn installer(executor: &ExecutorId) -> HashMap<String, String> {
    HashMap::from([(INSTALLER.to_owned(), executor.to_string())])
}

/// Matches every container in which an executor installs the toolbox.
pub(super) fn of_installer(executor: &ExecutorId) -> String {
    format!("{INSTALLER}={executor}")
}

/// Matches every container of an executor.
pub(super) fn of_executor(executor: &ExecutorId) -> String {
    format!("{EXECUTOR}={executor}")
}

/// Matches every container of a pod.
pub(super) fn of_pod(pod: &PodId) -> String {
    format!("{POD}={pod}")
}

/// Whether it is the container that runs the steps.
pub(super) fn is_main(container: &ContainerSummary) -> bool {
    container.labels.as_ref().and_then(|labels| labels.get(CONTAINER)).is_some_and(|index| index == "0")
}

/// The pods that containers belong to, each once. What has other labels than ours is nobody's.
pub(super) fn pods(containers: impl Iterator<Item = ContainerSummary>) -> Vec<Found> {
    let mut pods = BTreeMap::new();
    for container in containers {
        let Some(mark) = container.labels.as_ref().and_then(Mark::parse) else { continue };
        let found = pods.entry(mark.pod.clone()).or_insert(Found { mark, main: None });
        if is_main(&container) {
            found.main = container.id;
        }
    }
    pods.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(pod: &str, user: Option<&str>) -> Mark {
        Mark {
            pod: PodId::parse(pod).unwrap(),
            task: TaskId::parse("task").unwrap(),
            attempt: 3,
            executor: ExecutorId::parse("executor").unwrap(),
            user: user.map(str::to_owned),
            lost_after: Duration::from_secs(60),
        }
    }

    fn container(id: &str, labels: HashMap<String, String>) -> ContainerSummary {
        ContainerSummary { id: Some(id.to_owned()), labels: Some(labels), ..Default::default() }
    }

    #[test]
    fn pods_are_found_by_what_their_containers_say() {
        let (whole, torn) = (mark("whole", Some("ci")), mark("torn", None));
        let containers = [
            container("b", whole.labels(1)),
            container("a", whole.labels(0)),
            container("c", torn.labels(1)),
            container("d", HashMap::from([(POD.to_owned(), "stranger".to_owned())])),
        ];
        let expected = vec![Found { mark: torn, main: None }, Found { mark: whole, main: Some("a".to_owned()) }];
        assert_eq!(pods(containers.into_iter()), expected);
    }
}
