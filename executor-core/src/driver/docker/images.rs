//! How does the engine come to have an image, and what does the image say?

use std::collections::BTreeMap;

use bollard::{auth::DockerCredentials, models::ImageInspect, query_parameters::CreateImageOptionsBuilder};
use futures::{StreamExt as _, future};
use tokio::time::Instant;

use super::{PullPolicy, engine::Engine, errors};
use crate::{
    contract::RegistryAuth,
    driver::{DriverError, PodSpec, Result, SetupLog, registry},
};

/// Images by their names, as the engine has them.
pub(super) type Images = BTreeMap<String, ImageInspect>;

/// Makes sure that the engine has all images of a pod, all at the same time.
pub(super) async fn fetch_all(engine: &Engine, spec: &PodSpec, log: &dyn SetupLog) -> Result<Images> {
    let names: BTreeMap<&str, ()> = spec.containers.iter().map(|container| (container.image.as_str(), ())).collect();
    let fetches = names.into_keys().map(async |name| {
        let image = fetch(engine, name, &spec.registries_auth, log).await?;
        Ok::<_, DriverError>((name.to_owned(), image))
    });
    Ok(future::try_join_all(fetches).await?.into_iter().collect())
}

async fn fetch(
    engine: &Engine,
    name: &str,
    auths: &BTreeMap<String, RegistryAuth>,
    log: &dyn SetupLog,
) -> Result<ImageInspect> {
    if name.is_empty() {
        let message = "a container of the task has no `image`, and the docker driver needs one";
        return Err(DriverError::Refused { message: message.to_owned() });
    }
    let local = local(engine, name).await?;
    match (engine.pull, local) {
        (PullPolicy::Missing | PullPolicy::Never, Some(image)) => return Ok(image),
        (PullPolicy::Auto, Some(image)) if !is_latest(name) => return Ok(image),
        (PullPolicy::Never, None) => {
            let message = format!(
                "image `{name}` is not on this executor's host, and its pull policy is `never`: load the image there, or \
                 change the policy"
            );
            return Err(DriverError::Refused { message });
        }
        (PullPolicy::Auto | PullPolicy::Always | PullPolicy::Missing, _) => {}
    }
    pull(engine, name, auths, log).await?;
    self::local(engine, name)
        .await?
        .ok_or_else(|| DriverError::failed(format!("pulling image `{name}`"), "the engine does not have it afterwards"))
}

async fn local(engine: &Engine, name: &str) -> Result<Option<ImageInspect>> {
    match engine.api.inspect_image(name).await {
        Ok(image) => Ok(Some(image)),
        Err(error) if errors::has_status(&error, 404) => Ok(None),
        Err(error) => Err(errors::pull_failed(name, false, &error)),
    }
}

async fn pull(engine: &Engine, name: &str, auths: &BTreeMap<String, RegistryAuth>, log: &dyn SetupLog) -> Result<()> {
    let credentials = registry::credentials(name, auths).map_err(|message| DriverError::Refused { message })?;
    let how = if credentials.is_some() { " with the task's credentials for its registry" } else { "" };
    log.line(&format!("pulling image {name}{how}"));
    let began = Instant::now();
    let had_credentials = credentials.is_some();
    let credentials = credentials.map(|credentials| DockerCredentials {
        username: Some(credentials.username),
        password: Some(credentials.password),
        serveraddress: Some(registry::host(name).to_owned()),
        ..DockerCredentials::default()
    });
    let (from, tag) = split_tag(name);
    let mut options = CreateImageOptionsBuilder::new().from_image(from);
    if let Some(tag) = tag {
        options = options.tag(tag);
    }
    let mut progress = engine.api.create_image(Some(options.build()), None, credentials);
    while let Some(piece) = progress.next().await {
        piece.map_err(|error| errors::pull_failed(name, had_credentials, &error))?;
    }
    log.line(&format!("image {name} was pulled in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// The tag, which the API wants apart from the name: without one it pulls all tags that there are. A digest stays with the
/// name.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    if name.contains('@') {
        return (name, None);
    }
    match name.rsplit_once(':') {
        Some((from, tag)) if !tag.contains('/') => (from, Some(tag)),
        _ => (name, Some("latest")),
    }
}

fn is_latest(name: &str) -> bool {
    split_tag(name).1 == Some("latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_beside_a_port_and_a_digest() {
        for (name, expected) in [
            ("busybox", ("busybox", Some("latest"))),
            ("busybox:1.36", ("busybox", Some("1.36"))),
            ("127.0.0.1:5000/a", ("127.0.0.1:5000/a", Some("latest"))),
            ("127.0.0.1:5000/a:1", ("127.0.0.1:5000/a", Some("1"))),
            ("a@sha256:abc", ("a@sha256:abc", None)),
            ("a:1@sha256:abc", ("a:1@sha256:abc", None)),
        ] {
            assert_eq!(split_tag(name), expected, "{name}");
        }
    }
}
