//! What does a process driver hand on from the host?

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use super::ProcessDriver;
use crate::{
    driver::{DriverError, PodId, Result},
    executor::create_private_dir,
};

/// Which of the executor's own variables its commands see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// All of them. Whatever secret the executor was given in a variable is then open to every command.
    All,
    /// Those with these names; a name that ends with `*` stands for all that begin so.
    Names(Vec<String>),
}

impl Default for Inherit {
    /// `PATH`, the language, the terminal, the time zone, certificates and proxies.
    fn default() -> Self {
        let names = [
            "PATH",
            "LANG",
            "LANGUAGE",
            "LC_*",
            "TZ",
            "TERM",
            "TMPDIR",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
        ];
        Self::Names(names.map(str::to_owned).to_vec())
    }
}

/// Puts a [`ProcessDriver`] together.
#[derive(Clone, Debug, Default)]
pub struct ProcessDriverBuilder {
    toolbox: Option<Vec<OsString>>,
    inherit: Inherit,
    environment: BTreeMap<String, String>,
}

/// What all pods of a driver share.
#[derive(Debug)]
pub(super) struct Host {
    /// The program that is the toolbox, with its first arguments.
    pub(super) toolbox: Vec<OsString>,
    pub(super) inherit: Inherit,
    pub(super) environment: BTreeMap<String, String>,
    /// The pods that this process has made and in which nothing but steps has run: of those the supervisors know when
    /// nothing is left, and nobody has to look for it.
    pub(super) steps_only: Mutex<HashSet<PodId>>,
}

impl Host {
    pub(super) fn steps_only(&self) -> MutexGuard<'_, HashSet<PodId>> {
        self.steps_only.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl ProcessDriverBuilder {
    /// The program that supervises steps, with its first arguments. Default: the running program, which therefore has
    /// to call [`run_toolbox_if_invoked`](crate::run_toolbox_if_invoked) first in its `main`.
    #[must_use]
    pub fn toolbox(mut self, command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.toolbox = Some(command.into_iter().map(|word| word.as_ref().to_owned()).collect());
        self
    }

    /// Which of the executor's own variables commands see. Default: see [`Inherit::default`].
    #[must_use]
    pub fn inherit(mut self, inherit: Inherit) -> Self {
        self.inherit = inherit;
        self
    }

    /// Variables for all commands; a task's own win over them.
    #[must_use]
    pub fn environment(mut self, environment: BTreeMap<String, String>) -> Self {
        self.environment = environment;
        self
    }

    /// Opens the driver; its pods are below `dir`, which it makes if need be.
    ///
    /// # Errors
    /// If the directory cannot be made, or no toolbox was given and the path of the running program is unknown;
    /// [`DriverError::Refused`] if the program was started as its own toolbox and did not act as it.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<ProcessDriver> {
        if std::env::args_os().nth(1).is_some_and(|word| word == runyard_toolbox::TOOLBOX_WORD) {
            // Going on would start the program again and again, each to supervise the steps of the one before.
            let message = "the program was started as its own toolbox and did not act as it: \
                           call `run_toolbox_if_invoked()` first in `main`";
            return Err(DriverError::Refused { message: message.to_owned() });
        }
        let dir = dir.as_ref();
        create_private_dir(dir).map_err(DriverError::io(format!("creating `{}`", dir.display())))?;
        let dir = fs::canonicalize(dir).map_err(DriverError::io(format!("resolving `{}`", dir.display())))?;
        let toolbox = match self.toolbox {
            Some(toolbox) if toolbox.is_empty() => {
                return Err(DriverError::Refused { message: "the toolbox command is empty".to_owned() });
            }
            Some(toolbox) => toolbox,
            None => own_toolbox()?,
        };
        let (inherit, environment, steps_only) = (self.inherit, self.environment, Mutex::default());
        let host = Host { toolbox, inherit, environment, steps_only };
        Ok(ProcessDriver { dir, host: Arc::new(host) })
    }
}

fn own_toolbox() -> Result<Vec<OsString>> {
    let program = std::env::current_exe().map_err(DriverError::io("finding the path of the running program"))?;
    Ok(vec![program.into(), runyard_toolbox::TOOLBOX_WORD.into()])
}
