//! How does somebody follow a log whose server comes and goes?

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Where the server can be found, which stays the same over its restarts.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    pub(super) token: String,
}

/// One log of one run.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) run: String,
    pub(super) task: &'static str,
    pub(super) step: String,
}

/// What a reader does when its connection broke.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// It goes on behind the last byte that it has.
    Resume,
    /// It reads from the beginning, and every byte must be as it was.
    ReadAgain,
}

impl Api {
    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}/api/v1{path}", self.url)).bearer_auth(&self.token)
    }

    fn log(&self, log: &Log, offset: usize, follow: bool) -> reqwest::RequestBuilder {
        let query = [
            ("task", log.task.to_owned()),
            ("step", log.step.clone()),
            ("offset", offset.to_string()),
            ("follow", follow.to_string()),
        ];
        self.get(&format!("/runs/{}/logs", log.run)).query(&query)
    }

    /// All of a log as it is now.
    pub(super) async fn read(&self, log: &Log) -> Vec<u8> {
        let response = self.log(log, 0, false).send().await.expect("the server answers");
        assert_eq!(response.status(), 200, "{log:?}");
        response.bytes().await.expect("a whole answer").to_vec()
    }

    /// Follows a log to its end, over any number of restarts. `seen` is what came so far.
    pub(super) async fn follow(self, log: Log, after: After, seen: Arc<Mutex<Vec<u8>>>) {
        loop {
            let seen_before = seen.lock().expect("no panic while held").len();
            let mut at = match after {
                After::Resume => seen_before,
                After::ReadAgain => 0,
            };
            if let Ok(mut response) = self.log(&log, at, true).send().await {
                assert_eq!(response.status(), 200, "{log:?}");
                loop {
                    match response.chunk().await {
                        Ok(Some(bytes)) => {
                            let mut seen = seen.lock().expect("no panic while held");
                            let known = (seen.len() - at).min(bytes.len());
                            assert_eq!(bytes[..known], seen[at..at + known], "{log:?}: the log changed at byte {at}");
                            seen.extend_from_slice(&bytes[known..]);
                            at += bytes.len();
                        }
                        Ok(None) => {
                            assert!(at >= seen_before, "{log:?}: {seen_before} bytes had come, and it ends at {at}");
                            return;
                        }
                        Err(_) => break,
                    }
                }
            }
            // The server is away, and tells nobody when it is back.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
