//! The API, from the client of the command line.

use axum::http::StatusCode;

use super::api::{
    Items, PageQuery,
    projects::{CreateProject, ProjectView},
};
use crate::{
    client::{Client, Error},
    testing::Home,
};

async fn create(client: &Client, name: &str) -> Result<ProjectView, Error> {
    client.post("/projects", &CreateProject { name: name.to_owned() }).await
}

fn problem_of<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String, String) {
    match result.expect_err("refused") {
        Error::Refused(problem) => {
            assert!(!problem.trace_id.is_empty());
            (problem.status, problem.code, problem.detail)
        }
        other => panic!("not a problem: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_created_once_listed_by_page_and_found_by_name_or_id() {
    let home = Home::new();
    let server = home.start().await;
    let client = server.client();
    let mut created = Vec::new();
    for name in ["b", "a", "c"] {
        created.push(create(&client, name).await.expect("a new name"));
    }
    let (status, code, detail) = problem_of(create(&client, "a").await);
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT.as_u16(), "name-taken"));
    assert!(detail.contains("`a`"), "{detail}");
    assert_eq!(problem_of(create(&client, "A").await).1, "invalid-name");

    let mut query = PageQuery { limit: Some(2), ..PageQuery::default() };
    let first: Items<ProjectView> = client.get("/projects", &query).await.expect("a page");
    assert_eq!(first.items, [created[1].clone(), created[0].clone()]);
    query.cursor = first.next_cursor;
    let second: Items<ProjectView> = client.get("/projects", &query).await.expect("a page");
    assert_eq!((second.items, second.next_cursor), (vec![created[2].clone()], None));
    server.stop().await;

    let server = home.start().await;
    let client = server.client();
    for reference in [&created[0].name, &created[0].id] {
        let found: ProjectView = client.get(&format!("/projects/{reference}"), &()).await.expect("found");
        assert_eq!(found, created[0]);
    }
    assert_eq!(problem_of(client.get::<ProjectView>("/projects/nothing", &()).await).1, "not-exist");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_wrong_gets_a_problem_that_says_why() {
    let home = Home::new();
    let server = home.start().await;
    let client = server.client();
    let invalid = serde_json::json!({ "name": "a", "colour": "red" });
    let (_, code, detail) = problem_of(client.post::<ProjectView>("/projects", &invalid).await);
    assert!(code == "invalid-body" && detail.contains("colour"), "{detail}");
    assert_eq!(problem_of(client.get::<()>("/nothing", &()).await).1, "no-such-route");
    assert_eq!(problem_of(client.post::<()>("/projects/a", &()).await).1, "method-not-allowed");
    let query = PageQuery { limit: Some(0), ..PageQuery::default() };
    assert_eq!(problem_of(client.get::<()>("/projects", &query).await).1, "invalid-limit");

    let address = format!("http://{}", server.address);
    for token in [None, Some("wrong".to_owned())] {
        let stranger = Client::new(&address, token).expect("an address");
        let (status, code, _) = problem_of(create(&stranger, "a").await);
        assert_eq!((status, code.as_str()), (401, "unauthorized"));
    }
    let health = reqwest::get(format!("{address}/healthz")).await.expect("an answer");
    assert_eq!(health.status(), StatusCode::OK);
    server.stop().await;

    let gone = client.get::<()>("/projects", &()).await.expect_err("nobody listens").to_string();
    assert!(gone.contains("runyard serve"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_what_to_do() {
    let taken = super::listen::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let error = super::listen::bind(&address).await.expect_err("in use");
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
}
