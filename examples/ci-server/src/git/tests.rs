//! The server and a real git client.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::oneshot,
};

use super::{DefinitionFile, Error, pktline, push_request::PushRequest};
use crate::{
    configdata::{ObjectId, ProjectId},
    server::auth::AdminToken,
    testing::{Home, TestServer, create_project},
};

async fn refs(server: &TestServer, project: &ProjectId) -> Vec<(String, String)> {
    let repository = server.config.repository(project).await.expect("rows");
    repository.refs.iter().map(|(name, object)| (name.to_string(), object.to_string())).collect()
}

fn pair(name: &str, object: &str) -> (String, String) {
    (name.to_owned(), object.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_can_be_cloned_after_a_restart_and_without_the_cache() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let work = home.work("work").await;
    let first = work.commit("README", "hello").await;
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    assert_eq!(refs(&server, &project.id).await, [pair("refs/heads/main", &first)]);

    // The second pack is thin: it is completed with objects of the first.
    let long: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    work.commit("long", &long).await;
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    let third = work.commit("long", long.replace("line 7\n", "line seven\n")).await;
    std::fs::remove_dir_all(home.path("cache")).expect("the cache is there");
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    server.stop().await;

    std::fs::remove_dir_all(home.path("cache")).expect("the cache is there");
    let server = home.start().await;
    for version in ["0", "1", "2"] {
        let copy = home.work(&format!("copy-{version}")).await;
        let protocol = format!("protocol.version={version}");
        copy.git(&["-c", &protocol, "clone", "-q", &server.git_url("app"), "clone"]).await;
        assert_eq!(copy.git(&["-C", "clone", "rev-parse", "main"]).await, third);
        assert_eq!(copy.git(&["-C", "clone", "symbolic-ref", "HEAD"]).await, "refs/heads/main");
        copy.git(&["-C", "clone", "fsck", "--strict"]).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_one_server_is_fetched_from_another_one_and_the_other_way_round() {
    let one = Home::new();
    let other = Home::sharing(&one);
    let [first, second] = [one.start().await, other.start().await];
    create_project(&first.config, "app").await;
    let (work, copy) = (one.work("work").await, other.work("copy").await);
    work.commit("README", "hello").await;
    work.git(&["push", "-q", &first.git_url("app"), "main"]).await;

    second.catch_up().await;
    copy.git(&["pull", "-q", &second.git_url("app"), "main"]).await;
    let theirs = copy.commit("README", "hello, too").await;
    copy.git(&["push", "-q", &second.git_url("app"), "main"]).await;

    // The first server has not heard of that, and refuses all the same what would undo it.
    work.commit("README", "goodbye").await;
    let refused = work.try_git(&["push", &first.git_url("app"), "main"]).await;
    assert!(!refused.success && refused.stderr.contains("rejected"), "{refused:?}");
    work.git(&["fetch", "-q", &first.git_url("app"), "main"]).await;
    assert_eq!(work.git(&["rev-parse", "FETCH_HEAD"]).await, theirs);
    work.git(&["fsck", "--strict"]).await;
    for server in [first, second] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_and_tags_are_created_forced_fetched_and_deleted() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let url = server.git_url("app");
    let work = home.work("work").await;
    work.git(&["remote", "add", "origin", &url]).await;
    let first = work.commit("a", "1").await;
    work.git(&["tag", "-a", "v1", "-m", "one"]).await;
    let tag = work.git(&["rev-parse", "v1"]).await;
    work.git(&["push", "-q", "origin", "main", "v1", "main:refs/heads/feature/x"]).await;
    let expected = [pair("refs/heads/feature/x", &first), pair("refs/heads/main", &first), pair("refs/tags/v1", &tag)];
    assert_eq!(refs(&server, &project.id).await, expected);

    let copy = home.work("copy").await;
    copy.git(&["remote", "add", "origin", &url]).await;
    copy.git(&["fetch", "-q", "--tags", "origin"]).await;
    assert_eq!(copy.git(&["rev-parse", "v1"]).await, tag);

    work.git(&["commit", "-q", "--amend", "-m", "another first"]).await;
    let amended = work.git(&["rev-parse", "HEAD"]).await;
    let refused = work.try_git(&["push", "origin", "main"]).await;
    assert!(!refused.success && refused.stderr.contains("rejected"), "{refused:?}");
    work.git(&["push", "-q", "--force", "origin", "main"]).await;
    copy.git(&["fetch", "-q", "origin"]).await;
    assert_eq!(copy.git(&["rev-parse", "origin/main"]).await, amended);

    // The server says no to the second ref, so an atomic push leaves the first as it is.
    let refused = work.try_git(&["push", "--atomic", "origin", "main:new", "main:refs/heads/feature/x/y"]).await;
    assert!(!refused.success && refused.stderr.contains("feature/x"), "{refused:?}");
    work.git(&["push", "-q", "origin", ":feature/x", ":v1"]).await;
    assert_eq!(refs(&server, &project.id).await, [pair("refs/heads/main", &amended)]);
    copy.git(&["fetch", "-q", "--prune", "origin"]).await;
    assert_eq!(copy.git(&["branch", "-r"]).await, "origin/main");

    let triggers = server.config.triggers().await.expect("rows");
    let triggers: Vec<_> = triggers.iter().map(|(_, trigger)| (trigger.name.as_str(), trigger.new.as_str())).collect();
    let created = [("refs/heads/main", first.as_str()), ("refs/tags/v1", &tag), ("refs/heads/feature/x", &first)];
    assert!(created.iter().all(|pair| triggers[..3].contains(pair)), "{triggers:?}");
    assert_eq!(triggers[3..], [("refs/heads/main", amended.as_str())]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_clone_can_be_made_and_pushed_from() {
    let home = Home::new();
    let server = home.start().await;
    create_project(&server.config, "app").await;
    create_project(&server.config, "other").await;
    let work = home.work("work").await;
    for count in 0..3 {
        work.commit("a", count.to_string()).await;
    }
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    let copy = home.work("copy").await;
    copy.git(&["fetch", "-q", "--depth=1", &server.git_url("app"), "main"]).await;
    copy.git(&["reset", "-q", "--hard", "FETCH_HEAD"]).await;
    assert_eq!(copy.git(&["rev-list", "--count", "HEAD"]).await, "1");
    copy.commit("b", "from a shallow clone").await;
    copy.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    // Elsewhere its history would be cut off.
    let refused = copy.try_git(&["push", &server.git_url("other"), "main"]).await;
    assert!(!refused.success && refused.stderr.contains("remote rejected"), "{refused:?}");
    work.git(&["pull", "-q", &server.git_url("app"), "main"]).await;
    assert_eq!(work.git(&["rev-list", "--count", "HEAD"]).await, "4");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_pushes_to_one_branch_exactly_one_wins() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let url = server.git_url("app");
    let works = [home.work("one").await, home.work("two").await, home.work("three").await];
    for (index, work) in works.iter().enumerate() {
        work.commit("a", index.to_string()).await;
    }
    let push = ["push", "-q", &url, "main"];
    let ended = tokio::join!(works[0].try_git(&push), works[1].try_git(&push), works[2].try_git(&push));
    let ended = [ended.0, ended.1, ended.2];
    assert_eq!(ended.iter().filter(|ended| ended.success).count(), 1, "{ended:?}");
    let winner = ended.iter().position(|ended| ended.success).expect("one");
    let commit = works[winner].git(&["rev-parse", "HEAD"]).await;
    assert_eq!(refs(&server, &project.id).await, [pair("refs/heads/main", &commit)]);
    assert_eq!(server.config.triggers().await.expect("rows").len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_may_not_or_asks_for_nothing_known_is_told_what_to_do() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let work = home.work("work").await;
    work.commit("a", "1").await;
    let wrong = server.git_url("app").replace(&server.token, "wrong");
    let refused = work.try_git(&["push", &wrong, "main"]).await;
    assert!(!refused.success && refused.stderr.contains("Authentication failed"), "{refused:?}");
    assert!(refused.stderr.contains("admin-token"), "{refused:?}");
    let anonymous = format!("http://{}/git/app.git", server.address);
    assert!(!work.try_git(&["ls-remote", &anonymous]).await.success);
    let unknown = work.try_git(&["push", &server.git_url("nothing"), "main"]).await;
    assert!(!unknown.success && unknown.stderr.contains("project `nothing` does not exist"), "{unknown:?}");
    assert_eq!(refs(&server, &project.id).await, []);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_run_reads_its_own_repository_and_does_nothing_else() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    create_project(&server.config, "other").await;
    let work = home.work("work").await;
    work.commit("a", "1").await;
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    let (admin, _) = AdminToken::load_or_create(&home.path("admin-token")).expect("a token");
    let read_token = admin.read_token(&project.id);
    let url = |project: &str| server.git_url(project).replace(&server.token, &read_token);
    assert!(work.git(&["ls-remote", &url("app")]).await.contains("refs/heads/main"));
    for refused in [vec!["push", "-q", &url("app"), "main:x"], vec!["ls-remote", &url("other")]] {
        let ended = work.try_git(&refused).await;
        assert!(!ended.success && ended.stderr.contains("403"), "{refused:?}: {ended:?}");
    }
    let api = crate::client::Client::new(&format!("http://{}", server.address), Some(read_token)).expect("an address");
    api.get::<serde_json::Value>("/projects", &()).await.expect_err("not for the API");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_over_the_limit_is_refused_with_the_limit() {
    let mut home = Home::new();
    home.push_size_max = 100_000;
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let work = home.work("work").await;
    let mut noise = vec![0; 2_000_000];
    StdRng::seed_from_u64(1).fill_bytes(&mut noise);
    work.commit("noise", &noise).await;
    // Over 1 MiB, git sends the body in chunks and asks with an empty push first.
    let refused = work.try_git(&["push", &server.git_url("app"), "main"]).await;
    assert!(!refused.success && refused.stderr.contains("larger than 100000 bytes"), "{}", refused.stderr);
    let repository = server.config.repository(&project.id).await.expect("rows");
    assert!(repository.refs.is_empty() && repository.packs.is_empty());
    server.stop().await;
}

/// The head of a push that creates `main`, and the pack of all of a repository.
async fn recorded_push(work: &crate::testing::Work, commit: &str) -> (PushRequest, Vec<u8>) {
    let mut head = BytesMut::new();
    pktline::write(&mut head, format!("{} {commit} refs/heads/main\0report-status", ObjectId::ZERO));
    pktline::flush(&mut head);
    let request = PushRequest::read(&mut &head[..]).await.expect("a request");
    work.git(&["repack", "-a", "-d", "-q"]).await;
    let packs = std::fs::read_dir(work.path().join(".git/objects/pack")).expect("packs");
    let pack =
        packs.map(|entry| entry.expect("an entry").path()).find(|path| path.extension() == Some("pack".as_ref()));
    (request, std::fs::read(pack.expect("a pack")).expect("read"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_off_or_damaged_leaves_nothing() {
    let home = Home::new();
    let (config, service) = home.git_service().await;
    let project = create_project(&config, "app").await;
    let work = home.work("work").await;
    let commit = work.commit("a", "content ".repeat(1000)).await;
    let (request, pack) = recorded_push(&work, &commit).await;
    let mut damaged = pack.clone();
    damaged[pack.len() / 2] ^= 0x55;
    for body in
        [&pack[..0], &pack[..5], &pack[..pack.len() / 2], &pack[..pack.len() - 1], &damaged, b"not a pack at all"]
    {
        let report = service.receive(&project.id, &request, body).await;
        report.unpack.expect_err("refused");
        assert!(report.refs.iter().all(Result::is_err));
    }
    // A client that goes away in the middle: the future is dropped while it waits for the rest.
    let (body, read) = Endless::new(&pack[..pack.len() / 2]);
    tokio::select! {
        report = service.receive(&project.id, &request, body) => panic!("it ended: {report:?}"),
        waits = read => waits.expect("the body was read"),
    }
    let repository = config.repository(&project.id).await.expect("rows");
    assert!(repository.refs.is_empty() && repository.packs.is_empty());
    assert!(config.triggers().await.expect("rows").is_empty());
    assert!(!home.path("objects/git").exists(), "no pack was stored");

    drop(service);
    let (config, service) = home.git_service().await;
    assert!(!home.path("cache/git/unfinished").exists(), "a start removes what is left");
    let report = service.receive(&project.id, &request, &pack[..]).await;
    assert_eq!(report.refs, [Ok(())]);
    assert_eq!(config.repository(&project.id).await.expect("rows").packs.len(), 1);
    // The same push again is against what the ref is now.
    let report = service.receive(&project.id, &request, &pack[..]).await;
    assert!(report.refs[0].as_ref().is_err_and(|reason| reason.contains("changed meanwhile")), "{report:?}");
}

/// Yields some bytes, says so, and then never ends.
struct Endless {
    rest: Vec<u8>,
    read: Option<oneshot::Sender<()>>,
}

impl Endless {
    fn new(bytes: &[u8]) -> (Self, oneshot::Receiver<()>) {
        let (read, waits) = oneshot::channel();
        (Self { rest: bytes.to_vec(), read: Some(read) }, waits)
    }
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.rest.is_empty() {
            self.read.take().map(|read| read.send(()));
            return Poll::Pending;
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.drain(..length);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_lacks_objects_is_refused_and_so_is_a_branch_of_something_else() {
    let home = Home::new();
    let (config, service) = home.git_service().await;
    let project = create_project(&config, "app").await;
    let work = home.work("work").await;
    let commit = work.commit("a", "1").await;
    let (request, pack) = recorded_push(&work, &commit).await;
    // The pack is whole, but what the ref is to point at is not in it.
    let mut elsewhere = request.clone();
    elsewhere.commands[0].new = Some("1234567890123456789012345678901234567890".parse().expect("an object id"));
    let report = service.receive(&project.id, &elsewhere, &pack[..]).await;
    assert!(report.refs[0].as_ref().is_err_and(|reason| reason.contains("was not sent")), "{report:?}");
    let mut tree = request.clone();
    tree.commands[0].new = Some(work.git(&["rev-parse", "HEAD^{tree}"]).await.parse().expect("an object id"));
    let report = service.receive(&project.id, &tree, &pack[..]).await;
    assert!(report.refs[0].as_ref().is_err_and(|reason| reason.contains("is a tree")), "{report:?}");
    // A commit whose parent was left out.
    let child = work.commit("a", "2").await;
    let (mut cut, _) = recorded_push(&work, &child).await;
    cut.shallow = true;
    let name = work.git(&["rev-parse", "HEAD:a"]).await;
    work.write("objects.txt", format!("{child}\n{}\n{name}\n", work.git(&["rev-parse", "HEAD^{tree}"]).await));
    let script = "git pack-objects -q cut < objects.txt && mv cut-*.pack cut.pack";
    let status = tokio::process::Command::new("sh").args(["-c", script]).current_dir(work.path()).status().await;
    assert!(status.expect("sh runs").success());
    let cut_pack = std::fs::read(work.path().join("cut.pack")).expect("read");
    let report = service.receive(&project.id, &cut, &cut_pack[..]).await;
    assert!(report.refs[0].is_err(), "{report:?}");
    let repository = config.repository(&project.id).await.expect("rows");
    assert!(repository.refs.is_empty() && repository.packs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_read_with_the_first_definition_that_it_has() {
    let home = Home::new();
    let server = home.start().await;
    let project = create_project(&server.config, "app").await;
    let work = home.work("work").await;
    let without = work.commit("a", "1").await;
    let tree = work.git(&["rev-parse", "HEAD^{tree}"]).await;
    work.write(".ci/other.json", "{}");
    let with = work.commit(".ci/config.yml", "tasks: []\n").await;
    work.git(&["tag", "-a", "v1", "-m", "one"]).await;
    let tag = work.git(&["rev-parse", "v1"]).await;
    let large = work.commit(".ci/config.yml", "#".repeat((1 << 20) + 1)).await;
    std::fs::remove_file(work.path().join(".ci/config.yml")).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", work.path().join(".ci/config.yml")).expect("a link");
    let link = work.commit("a", "2").await;
    let binary = {
        std::fs::remove_file(work.path().join(".ci/config.yml")).expect("removed");
        work.commit(".ci/config.yml", [0xff, 0xfe]).await
    };
    work.git(&["push", "-q", &server.git_url("app"), "main", "v1"]).await;
    server.stop().await;

    let (_, service) = home.git_service().await;
    let read = async |object: &str| {
        let paths = [".ci/missing.yml", ".ci/config.yml", ".ci/other.json"];
        service.read_commit(&project.id, &object.parse().expect("an object id"), &paths).await
    };
    assert_eq!(read(&without).await.expect("read").definition, DefinitionFile::Missing);
    for object in [&with, &tag] {
        let commit = read(object).await.expect("read");
        assert_eq!((commit.id.as_str(), commit.message.as_str()), (with.as_str(), "Change .ci/config.yml"));
        assert_eq!(commit.author, "A Tester <tester@example.org>");
        assert_eq!(commit.present, [".ci/config.yml", ".ci/other.json"]);
        let (path, content) = (".ci/config.yml".to_owned(), "tasks: []\n".to_owned());
        assert_eq!(commit.definition, DefinitionFile::Text { path, content });
    }
    for (object, reason) in [(&large, "larger than 1 MiB"), (&link, "not a plain file"), (&binary, "UTF-8")] {
        match read(object).await.expect(reason).definition {
            DefinitionFile::Unusable { path, reason: found } => {
                assert!(path == ".ci/config.yml" && found.contains(reason), "{path} {found}");
            }
            other => panic!("{reason}: {other:?}"),
        }
    }
    assert!(matches!(read(&tree).await, Err(Error::NotACommit { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_another_state_is_made_to_agree_with_the_rows() {
    let home = Home::new();
    let server = home.start().await;
    let [app, other] = [create_project(&server.config, "app").await, create_project(&server.config, "other").await];
    let work = home.work("work").await;
    let first = work.commit("a", "1").await;
    work.git(&["push", "-q", &server.git_url("app"), "main"]).await;
    work.commit("b", "2").await;
    work.git(&["push", "-q", &server.git_url("other"), "main"]).await;
    // As after a restore of an older backup: packs and refs that no row knows.
    let cache = |project: &ProjectId, below: &str| home.path(&format!("cache/git/{project}.git/{below}"));
    for entry in std::fs::read_dir(cache(&other.id, "objects/pack")).expect("packs") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), cache(&app.id, "objects/pack").join(entry.file_name())).expect("copied");
    }
    std::fs::write(cache(&app.id, "packed-refs"), "not a file of git").expect("written");
    std::fs::remove_file(cache(&app.id, "HEAD")).expect("removed");
    assert!(work.git(&["ls-remote", &server.git_url("app")]).await.starts_with(&first));
    let packs = std::fs::read_dir(cache(&app.id, "objects/pack")).expect("packs");
    let packs =
        packs.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension() == Some("pack".as_ref())));
    assert_eq!(packs.count(), 1);
    server.stop().await;
}
