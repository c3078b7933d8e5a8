//! Does the OpenAPI document say what the server does? Every route is called, and every answer fits its schema.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use runyard_datamanager::WalDataManager;
use runyard_executor_core::{
    contract::{AttemptState, Container, RegistryAuth, RestoreCacheStep, SaveCacheStep, Step, StepRef, Value},
    http::lines::Splitter,
};
use runyard_objectstorage::MemoryStorage;
use runyard_runservice_core::{Settings, http::ManagementApi, model::RunConfig};
use serde_json::{Value as Json, json};

use crate::{
    hand::{Hand, config, with_workspace},
    schema::misfit,
    world::{Way, World, id, name},
};

struct Caller {
    http: reqwest::Client,
    base: String,
    document: Json,
    called: BTreeSet<String>,
}

impl Caller {
    async fn new(world: &World) -> Self {
        let (http, base) = (reqwest::Client::new(), format!("http://{}/api", world.address));
        let document = http.get(format!("{base}/openapi.json")).send().await.expect("an answer");
        let document = document.json().await.expect("JSON");
        Self { http, base, document, called: BTreeSet::from(["GET /openapi.json".to_owned()]) }
    }

    /// Calls an operation, whose answer has to be what the document says; for a stream, its first line.
    async fn call(&mut self, method: &str, template: &str, values: &[&str], query: &str, body: Option<Json>) -> Json {
        let operation = self.document["paths"][template][method.to_lowercase()].clone();
        assert!(operation.is_object(), "{method} {template} is documented");
        let mut path = template.to_owned();
        for value in values {
            let (from, to) = (path.find('{').expect("a parameter"), path.find('}').expect("a parameter"));
            path.replace_range(from..=to, value);
        }
        self.check_query(&operation, query);
        let method_of = method.parse().expect("a method");
        let mut request = self.http.request(method_of, format!("{}{path}?{query}", self.base));
        if let Some(body) = body {
            let documented = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert_eq!(misfit(&self.document, documented, &body), None, "the body of {method} {template}");
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16().to_string();
        let documented = &operation["responses"][&status];
        assert!(
            documented.is_object(),
            "{method} {template} answered {status}: {}",
            answer.text().await.expect("text")
        );
        self.called.insert(format!("{method} {template}"));
        let Some(content) = documented["content"].as_object() else {
            assert_eq!(status, "204");
            return Json::Null;
        };
        let (media, content) = content.iter().next().expect("one media type");
        let sent = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(sent.starts_with(media), "{method} {template} answered {sent}");
        if media == "text/plain" {
            return Json::String(answer.text().await.expect("text"));
        }
        let value =
            if media == "application/x-ndjson" { first_line(answer).await } else { answer.json().await.expect("JSON") };
        if template != "/data/export" {
            let misfit = misfit(&self.document, &content["schema"], &value);
            assert_eq!(misfit, None, "the answer to {method} {template}: {value:#}");
        }
        value
    }

    fn check_query(&self, operation: &Json, query: &str) {
        let documented: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
        let given: BTreeSet<_> = query.split('&').filter_map(|field| field.split_once('=')).map(|one| one.0).collect();
        for name in &given {
            assert!(
                documented.iter().any(|one| one["in"] == "query" && one["name"] == *name),
                "`{name}` is documented"
            );
        }
        for one in documented.iter().filter(|one| one["in"] == "query" && one["required"] == true) {
            assert!(given.contains(one["name"].as_str().expect("text")), "{one} is given");
        }
    }
}

async fn first_line(answer: reqwest::Response) -> Json {
    let (mut body, mut splitter) = (answer.bytes_stream(), Splitter::default());
    loop {
        let piece = body.next().await.expect("a line").expect("readable");
        if let Some(line) = splitter.push(&piece).expect("a short line").first() {
            return serde_json::from_slice(line).expect("JSON");
        }
    }
}

/// A definition with something in every field.
fn full() -> RunConfig {
    let mut config = with_workspace(config(&["a", "b: a"]), "a", "b");
    config.environment.insert("S".into(), Value::secret("x"));
    config.annotations.insert("k".into(), "v".into());
    let b = config.tasks.get_mut(&name("b")).expect("there is one");
    b.needs_approval = true;
    b.timeout = Some(std::time::Duration::from_secs(60));
    b.steps.0.push(Step::SaveCache(SaveCacheStep { key: "k".into(), ..Default::default() }));
    b.steps.0.push(Step::RestoreCache(RestoreCacheStep { keys: vec!["k".into()], ..Default::default() }));
    b.runtime.containers.push(Container { image: "debian".into(), ..Container::default() });
    b.registries_auth.insert("r".into(), RegistryAuth::EncodedAuth { auth: "x".into() });
    b.retry.max = 1;
    config
}

#[tokio::test]
async fn every_route_answers_as_the_document_says() {
    let data = WalDataManager::builder(Arc::new(MemoryStorage::new())).base_path("rundata").open().await.expect("open");
    let of_api = data.clone();
    let api = |runs| ManagementApi::new(runs).data(of_api);
    let world = World::over(data, Way::Http, Settings::default(), api).await;
    let mut hand = Hand::register("local", world.runs.client(), &[]).await;
    let mut caller = Caller::new(&world).await;
    let caller = &mut caller;

    let body = json!({ "config": full(), "idempotency_key": "k" });
    let run = caller.call("POST", "/runs", &[], "", Some(body)).await;
    let of_run = [run["id"].as_str().expect("text").to_owned()];
    let of_run: Vec<&str> = of_run.iter().map(String::as_str).collect();
    let body = json!({ "config": config(&["z"]) });
    let queued = caller.call("POST", "/runs", &[], "", Some(body)).await;

    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let line = Bytes::from("hello\n");
    hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), 0, line).await.expect("stored");
    caller.call("GET", "/runs/{run}", &of_run, "", None).await;
    caller.call("GET", "/runs/{run}", &[queued["id"].as_str().expect("text")], "", None).await;
    hand.report(&spec, AttemptState::Success, 6).await.expect("reported");

    let page = caller.call("GET", "/runs", &[], "limit=1", None).await;
    let next = format!("limit=1&cursor={}", page["next"].as_str().expect("there is more"));
    assert_eq!(caller.call("GET", "/runs", &[], &next, None).await["runs"][0]["number"], 1);
    caller.call("GET", "/run-by-number", &[], "root=/project/p&number=1", None).await;
    caller.call("GET", "/runs/{run}/config", &of_run, "", None).await;
    let text = caller.call("GET", "/runs/{run}/logs", &of_run, "task=a&step=0&follow=true", None).await;
    assert_eq!(text, "hello\n");
    caller.call("GET", "/runs/{run}/logs/lines", &of_run, "task=a&step=0&limit=5", None).await;
    let note = json!({ "task": "b", "annotations": { "x": "y", "gone": null } });
    caller.call("PATCH", "/runs/{run}/annotations", &of_run, "", Some(note)).await;
    caller.call("GET", "/runs/{run}", &of_run, "", None).await;
    let approval = json!({ "task": "b", "approver": "me" });
    caller.call("POST", "/runs/{run}/approvals", &of_run, "", Some(approval)).await;
    caller.call("POST", "/runs/{run}/cancel", &[queued["id"].as_str().expect("text")], "", None).await;
    caller.call("POST", "/runs/{run}/stop", &of_run, "", None).await;
    caller.call("GET", "/runs/{run}", &of_run, "", None).await;
    let of_queued = [queued["id"].as_str().expect("text")];
    caller.call("POST", "/runs/{run}/restart", &of_queued, "", Some(json!({ "from": "scratch" }))).await;
    caller.call("PUT", "/runs/{run}/pin", &of_queued, "", Some(json!({ "pinned": false }))).await;
    caller.call("DELETE", "/runs/{run}", &of_queued, "", None).await;
    let listed =
        caller.call("GET", "/runs", &[], "group=/project/p/branch/main&phase=running&result=stopped", None).await;
    assert_eq!(listed["runs"].as_array().map(Vec::len), Some(1));

    caller.call("GET", "/executors", &[], "", None).await;
    caller.call("GET", "/executors/{executor}", &["local"], "", None).await;
    caller.call("POST", "/executors/{executor}/drain", &["local"], "", None).await;
    drop(hand);
    world.gone("local").await;
    caller.call("DELETE", "/executors/{executor}", &["local"], "", None).await;

    caller.call("GET", "/events", &[], "", None).await;
    caller.call("GET", "/now", &[], "", None).await;
    caller.call("GET", "/metrics", &[], "", None).await;
    let join = caller.call("POST", "/join-tokens", &[], "", Some(json!({ "name": "n", "uses": 2 }))).await;
    world.runs.join(join["token"].as_str().expect("text"), &id("far")).await.expect("joined");
    caller.call("GET", "/join-tokens", &[], "", None).await;
    caller.call("POST", "/executors/{executor}/revoke", &["far"], "", None).await;
    caller.call("DELETE", "/join-tokens/{token}", &[join["id"].as_str().expect("text")], "", None).await;

    every_event_fits(&world, caller).await;
    caller.call("GET", "/data/export", &[], "", None).await;
    caller.call("PUT", "/data/maintenance", &[], "", Some(json!({ "reason": "moving" }))).await;
    let refused = world.management().create(config(&["a"]).into()).await.expect_err("maintenance");
    assert_eq!(refused.kind(), runyard_runservice_core::ErrorKind::Unavailable);
    assert!(refused.to_string().contains("moving"), "{refused}");
    caller.call("DELETE", "/data/maintenance", &[], "", None).await;

    let mut documented = BTreeSet::new();
    for (path, operations) in caller.document["paths"].as_object().expect("an object") {
        documented
            .extend(operations.as_object().expect("an object").keys().map(|m| format!("{} {path}", m.to_uppercase())));
    }
    // Into a store that holds nothing; `an_export_comes_in_elsewhere` does it.
    documented.remove("POST /data/import");
    assert_eq!(caller.called, documented, "every route was called");
}

async fn every_event_fits(world: &World, caller: &Caller) {
    let schema = &caller.document["paths"]["/events"]["get"]["responses"]["200"]["content"]["application/x-ndjson"];
    let answer = caller.http.get(format!("{}/events", caller.base)).send().await.expect("an answer");
    let (mut body, mut splitter) = (answer.bytes_stream(), Splitter::default());
    let now = world.runs.now().to_string();
    let last = world.create(config(&["last"])).await;
    loop {
        for line in splitter.push(&body.next().await.expect("goes on").expect("readable")).expect("short lines") {
            let event: Json = serde_json::from_slice(&line).expect("JSON");
            assert_eq!(misfit(&caller.document, &schema["schema"], &event), None, "{event:#}");
            if event["event"]["run"] == last.id.as_str() {
                assert!(event["sequence"] != now.as_str());
                return;
            }
        }
    }
}

#[tokio::test]
async fn an_export_comes_in_elsewhere() {
    let wal = async || {
        let storage = Arc::new(MemoryStorage::new());
        WalDataManager::builder(storage).base_path("rundata").open().await.expect("opened")
    };
    let (from, to) = (wal().await, wal().await);
    let [from, to] = [from, to].map(|data| async {
        let of_api = data.clone();
        World::over(data, Way::Http, Settings::default(), |runs| ManagementApi::new(runs).data(of_api)).await
    });
    let (from, to) = (from.await, to.await);
    let run = from.create(config(&["a"])).await;
    let export = from.management().export().await.expect("exported");
    let export: Vec<Bytes> = export.map(|piece| piece.expect("readable")).collect().await;
    to.management().enter_maintenance("importing").await.expect("entered");
    let url = format!("http://{}/api/data/import", to.address);
    let http = reqwest::Client::new();
    let whole = Bytes::from(export.concat());
    let cut = http.post(&url).body(whole.slice(..whole.len() - 20)).send().await.expect("an answer");
    assert_eq!(cut.status(), 400, "an export without its end");
    let broken = Err(runyard_runservice_core::Error::NotExist { what: "the rest of the disk".into() });
    let broken = futures::stream::iter([Ok(whole.slice(..20)), broken]).boxed();
    let error = to.management().import(broken).await.expect_err("it broke off");
    assert!(error.to_string().contains("importing"), "{error}");
    let pieces: Vec<_> = whole.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let entries = to.management().import(futures::stream::iter(pieces).boxed()).await.expect("imported");
    assert!(entries > 0);
    to.management().leave_maintenance().await.expect("left");
    assert_eq!(to.management().get(&run.id).await.expect("it is there").run, run);
    // A host that does not offer its database says so.
    let error = World::new(Way::Http).await.management().leave_maintenance().await.expect_err("not offered");
    assert_eq!(error.kind(), runyard_runservice_core::ErrorKind::NotExist);
}
