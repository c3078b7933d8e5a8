//! Where secret values rest, and whom they reach.

use runyard_executor_core::contract::{Container, Environment, RegistryAuth, Runtime};
use runyard_objectstorage::ObjectStorageExt;

use super::*;
use crate::sealer::AeadSealer;

const SECRETS: [&str; 6] =
    ["secret-of-run", "secret-of-host", "secret-of-task", "secret-of-step", "secret-of-box", "pw"];

fn secret(value: &str) -> Environment {
    [("S".to_owned(), Value::secret(value))].into()
}

/// A run config with a secret in every place that holds values.
fn full_of_secrets() -> RunConfig {
    let mut config = config(&["a"]);
    let [run, host, task_secret, step, container, password] = SECRETS;
    (config.environment, config.static_environment) = (secret(run), secret(host));
    let task = config.tasks.get_mut(&name("a")).expect("there");
    task.environment = secret(task_secret);
    task.steps = Steps(vec![Step::Run(RunStep { environment: secret(step), ..RunStep::default() })]);
    let containers = vec![Container { environment: secret(container), ..Container::default() }];
    task.runtime = Runtime { arch: None, containers };
    let auth = RegistryAuth::Basic { username: "user".into(), password: Value::secret(password) };
    task.registries_auth = [("registry.example".to_owned(), auth)].into();
    config
}

/// A service on a data manager whose objects can be looked at.
async fn sealed_yard(storage: &Arc<MemoryStorage>, sealer: Option<AeadSealer>) -> Yard {
    let data: Arc<dyn DataManager> = Arc::new(WalDataManager::builder(storage.clone()).open().await.expect("opened"));
    let builder = RunService::builder(Arc::clone(&data), Arc::clone(storage));
    let runs = match sealer {
        Some(sealer) => builder.sealer(sealer).build(),
        None => builder.build(),
    };
    Yard::of(runs, data, Arc::clone(storage))
}

fn key(byte: u8) -> AeadSealer {
    AeadSealer::new(&[byte; 32]).expect("a key")
}

/// Whether any object contains a text.
async fn is_stored(storage: &MemoryStorage, text: &str) -> bool {
    for meta in storage.list_objects("").await.expect("listed") {
        let bytes = storage.get_bytes(&meta.key).await.expect("readable");
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn secrets_rest_sealed_and_reach_the_executor_as_they_are() {
    let storage = Arc::new(MemoryStorage::new());
    let yard = sealed_yard(&storage, Some(key(1))).await;
    let run = yard.create(full_of_secrets()).await;
    for value in SECRETS.iter().filter(|value| value.len() > 2) {
        assert!(!is_stored(&storage, value).await, "`{value}` is in the store");
    }
    assert!(is_stored(&storage, "registry.example").await, "what is no secret would be found");
    let shown = yard.runs.get(&run.id).await.expect("exists").config;
    assert_ne!(shown.environment["S"].expose(), SECRETS[0], "whoever sees a run does not see its secrets");

    let mut hand = yard.executor().await;
    let spec = hand.assigned().await;
    let RegistryAuth::Basic { username, password } = &spec.registries_auth["registry.example"] else { panic!() };
    let Step::Run(step) = &spec.steps.0[0] else { panic!() };
    let environments = [
        &spec.run_environment,
        &spec.static_environment,
        &spec.environment,
        &step.environment,
        &spec.runtime.containers[0].environment,
    ];
    let mut values: Vec<&str> = environments.iter().map(|environment| environment["S"].expose()).collect();
    values.push(password.expose());
    assert_eq!(values, SECRETS);
    assert_eq!(username.expose(), "user");
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_secrets_do_not_open_fails_and_says_so() {
    for (sealer, expected) in
        [(Some(key(2)), "a key that this run service was not given"), (None, "this run service has no sealer")]
    {
        let storage = Arc::new(MemoryStorage::new());
        let run = sealed_yard(&storage, Some(key(1))).await.create(full_of_secrets()).await;
        let yard = sealed_yard(&storage, sealer).await;
        let _hand = yard.executor().await;
        let detail = yard.finished(&run).await;
        let failure = detail.tasks[&name("a")].failure.clone().expect("it failed");
        assert_eq!((detail.run.result, failure.class), (RunResult::Failed, FailureClass::Setup));
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_config_that_claims_to_be_sealed_is_refused() {
    let yard = Yard::new();
    let claimed = RunConfig { sealed: true, ..full_of_secrets() };
    let error = yard.runs.create(claimed.into()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
}
