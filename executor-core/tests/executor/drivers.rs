//! Do the drivers keep the promises of every driver?

use std::sync::Arc;

use runyard_executor_core::{
    contract::Container,
    driver::{ExecutorDriver, ProcessDriver, conformance, scripted::ScriptedDriver},
};

use crate::toolbox;

#[tokio::test(flavor = "multi_thread")]
async fn the_process_driver_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let pods = dir.path().join("pods");
    let open = move || -> Arc<dyn ExecutorDriver> {
        Arc::new(ProcessDriver::builder().toolbox([toolbox::path()]).open(&pods).expect("the driver opens"))
    };
    conformance::check(open, Container::default(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_driver_conforms() {
    let driver = ScriptedDriver::new();
    conformance::check(move || Arc::new(driver.clone()), Container::default(), false).await;
}
