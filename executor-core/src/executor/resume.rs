//! What can be done with an attempt that the journal remembers? Pure: no clock, no I/O.

use super::{
    journal::{Entry, Stage},
    progress::Next,
};

/// How an executor goes on with an attempt that it finds in its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// Nothing of it was ever started: accept it (again) and begin.
    Begin,
    /// Its pod is there, and its setup was over: go on with what comes next.
    Continue,
    /// It has ended but for the last report.
    Report,
    /// Its setup was cut short: nobody can say what of it was done, but no step was begun.
    SetUpAgain,
    /// A step of it may have run, and its pod is gone: it must not be started a second time.
    Lost,
}

/// Decides from what the journal says, from whether it is still the same boot, and from whether the pod was found.
pub(super) fn resume(entry: &Entry, same_boot: bool, pod_found: bool) -> Resume {
    let next = entry.progress.next();
    match (entry.stage, next) {
        (_, Next::End(_)) => Resume::Report,
        (Stage::Assigned, _) if same_boot => Resume::Begin,
        // After a crash of the machine the file may be older than what happened.
        (_, Next::Step(_)) if pod_found => Resume::Continue,
        (Stage::Started, Next::Setup) if same_boot => Resume::SetUpAgain,
        (_, _) => Resume::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        driver::PodId,
        executor::{
            progress::{Outcome, Progress},
            samples,
        },
    };

    #[test]
    fn no_step_can_be_started_twice() {
        let entry = |stage, change: fn(&mut Progress)| {
            let task = samples::task("t", ["true"]);
            let mut progress = Progress::new(&task);
            change(&mut progress);
            let pod = PodId::parse("pod").unwrap();
            Entry { task, pod, generation: 0, stage, boot: "boot".into(), progress, pod_started: None }
        };
        let assigned = entry(Stage::Assigned, |_| {});
        let setup = entry(Stage::Started, Progress::begin_setup);
        let step = entry(Stage::Started, |progress| {
            progress.end_setup(Outcome::Success);
            progress.begin_step(0);
        });
        let ended = entry(Stage::Started, |progress| progress.end_setup(Outcome::Stopped));
        for (entry, same_boot, pod_found, expected) in [
            (&assigned, true, false, Resume::Begin),
            (&assigned, true, true, Resume::Begin),
            (&assigned, false, false, Resume::Lost),
            (&assigned, false, true, Resume::Lost),
            (&setup, true, false, Resume::SetUpAgain),
            (&setup, true, true, Resume::SetUpAgain),
            (&setup, false, true, Resume::Lost),
            (&step, true, true, Resume::Continue),
            (&step, false, true, Resume::Continue),
            (&step, true, false, Resume::Lost),
            (&step, false, false, Resume::Lost),
            (&ended, true, true, Resume::Report),
            (&ended, false, false, Resume::Report),
        ] {
            assert_eq!(resume(entry, same_boot, pod_found), expected, "{:?} {same_boot} {pod_found}", entry.progress);
        }
    }
}
