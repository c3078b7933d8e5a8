//! How does the toolbox get into containers?
//!
//! Into a volume that is named by the content of the program, so that executors of several versions get along on one
//! engine. An image that holds nothing but the program copies it there, which also shows that it runs in containers.

use std::{
    io,
    path::{Path, PathBuf},
};

use bollard::{
    models::{ContainerCreateBody, HostConfig, Mount, MountType},
    query_parameters::{CreateImageOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures::{StreamExt as _, TryStreamExt as _};
use runyard_toolbox::{PROGRAM, TOOLBOX_WORD};
use sha2::{Digest as _, Sha256};

use super::{containers::TOOLBOX_DIR, engine::Engine, errors, labels};
use crate::{
    contract::ExecutorId,
    driver::{DriverError, Result},
};

/// The image that holds the program; its tag is the hash of the program. Where no host is named, engines disagree which is
/// meant.
const IMAGE: &str = "localhost/runyard-toolbox";

/// The program that containers get.
#[derive(Debug)]
pub(super) struct Toolbox {
    program: PathBuf,
    /// Whether the program is another one that acts as the toolbox if it is asked to.
    is_guest: bool,
    /// The beginning of the hash of its content.
    hash: String,
    /// The volume that has it.
    pub(super) volume: String,
    /// Locked while it is installed.
    installing: tokio::sync::Mutex<()>,
}

impl Toolbox {
    /// The program at `given`, or the one of this executor.
    pub(super) fn find(given: Option<PathBuf>) -> Result<Self> {
        let (program, is_guest) = match given {
            Some(program) => (program, false),
            None => own().map_err(DriverError::io("finding the path of the running program"))?,
        };
        let content =
            std::fs::read(&program).map_err(DriverError::io(format!("reading the toolbox `{}`", program.display())))?;
        let hash: String = Sha256::digest(&content).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let volume = format!("{PROGRAM}-{hash}");
        Ok(Self { program, is_guest, hash, volume, installing: tokio::sync::Mutex::default() })
    }

    fn image(&self) -> String {
        format!("{IMAGE}:{}", self.hash)
    }

    /// The command that runs a subcommand of it in a container.
    pub(super) fn command(&self, subcommand: &str) -> Vec<String> {
        self.command_in(TOOLBOX_DIR, subcommand)
    }

    fn command_in(&self, dir: &str, subcommand: &str) -> Vec<String> {
        let word = self.is_guest.then(|| TOOLBOX_WORD.to_owned());
        let dir = dir.trim_end_matches('/');
        [format!("{dir}/{PROGRAM}")].into_iter().chain(word).chain([subcommand.to_owned()]).collect()
    }

    /// Puts it where containers find it. Done anew each time: an earlier attempt may not have come to its end. What that has
    /// left of `executor` is removed.
    pub(super) async fn install(&self, engine: &Engine, executor: &ExecutorId) -> Result<()> {
        let _alone = self.installing.lock().await;
        let left = engine.list(&labels::of_installer(executor)).await?;
        for id in left.into_iter().filter_map(|container| container.id) {
            engine.remove(&id).await?;
        }
        let image = self.image();
        if let Err(error) = engine.api.inspect_image(&image).await {
            if !errors::has_status(&error, 404) {
                return Err(errors::failed(format!("asking the engine at `{}`", engine.host))(error));
            }
            self.import(engine).await?;
        }
        let mount = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.volume.clone()),
            target: Some(TOOLBOX_DIR.to_owned()),
            ..Mount::default()
        };
        let mut command = self.command_in("/", "install");
        command.push(TOOLBOX_DIR.to_owned());
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(command),
            labels: Some(labels::installer(executor)),
            host_config: Some(HostConfig {
                mounts: Some(vec![mount]),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        // Without a name: several executors may be at it.
        let created = engine.api.create_container(None, body).await;
        let id = created.map_err(errors::failed("creating the container that installs the toolbox"))?.id;
        let ran = self.run(engine, &id).await;
        let removed = engine.remove(&id).await;
        ran.and(removed)
    }

    async fn import(&self, engine: &Engine) -> Result<()> {
        let program = self.program.clone();
        let packed = tokio::task::spawn_blocking(move || runyard_toolbox::layer(&program)).await;
        let layer = packed.map_err(io::Error::other).flatten().map_err(DriverError::io("packing the toolbox"))?;
        // The tag with the name: Podman has no use for it apart.
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(&self.image()).build();
        let imported = engine.api.create_image(Some(options), Some(bollard::body_full(layer.into())), None);
        let imported: Result<Vec<_>, _> = imported.try_collect().await;
        imported.map(|_| ()).map_err(errors::failed("giving the toolbox to the engine as an image"))
    }

    async fn run(&self, engine: &Engine, id: &str) -> Result<()> {
        let doing = || format!("installing the toolbox `{}` for containers", self.program.display());
        let hint = "is it linked statically, and for the architecture of the engine? `scripts/toolbox` of the project \
                    builds one";
        if let Err(error) = engine.api.start_container(id, None).await {
            return Err(DriverError::failed(doing(), format!("{}; {hint}", errors::text(&error))));
        }
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        match engine.api.wait_container(id, Some(options)).next().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                let (error, said) = (errors::text(&error), engine.last_words(id).await);
                Err(DriverError::failed(doing(), format!("{error}: {said}; {hint}")))
            }
            None => Err(DriverError::failed(doing(), "the engine does not say how it ended")),
        }
    }
}

/// The toolbox beside the running program, else the running program; whether it is that one.
fn own() -> io::Result<(PathBuf, bool)> {
    let program = std::env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("/")).join(PROGRAM);
    Ok(if beside.is_file() { (beside, false) } else { (program, true) })
}
