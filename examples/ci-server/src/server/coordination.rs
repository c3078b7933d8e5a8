//! Is this server the only one on its storage, or one of several?

use std::{str::FromStr, sync::Arc};

use runyard_datamanager::coordinator::{Coordinator, EmbeddedCoordinator};

/// What may stand after `--coordinator`.
#[cfg(feature = "etcd")]
const OFFERED: &str = "`embedded` for one server, or etcd://HOST:PORT[,HOST:PORT...]/PREFIX for several";
#[cfg(not(feature = "etcd"))]
const OFFERED: &str = "`embedded`";

/// A coordinator, as it is given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coordination {
    /// One server has the storage to itself.
    Embedded,
    /// Several servers share it.
    #[cfg(feature = "etcd")]
    Etcd(Box<runyard_datamanager::coordinator::EtcdSettings>),
}

/// Why a text is no coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCoordination {
    /// Nothing of that kind is offered. What was given is not repeated: it may hold a password.
    #[error("there is no such coordinator; give {OFFERED}")]
    Unknown,
    /// It is no URL of an etcd.
    #[cfg(feature = "etcd")]
    #[error("{0}; write it as etcd://HOST:PORT[,HOST:PORT...]/PREFIX")]
    Etcd(#[from] runyard_datamanager::coordinator::InvalidEtcdUrl),
    /// This program was built without it.
    #[cfg(not(feature = "etcd"))]
    #[error("this program was built without etcd; build it with `--features etcd`, or give {OFFERED}")]
    WithoutEtcd,
}

impl FromStr for Coordination {
    type Err = InvalidCoordination;

    fn from_str(text: &str) -> Result<Self, InvalidCoordination> {
        match text.split_once("://").map_or(text, |(scheme, _)| scheme) {
            "embedded" if text == "embedded" => Ok(Self::Embedded),
            #[cfg(feature = "etcd")]
            "etcd" | "etcds" => Ok(Self::Etcd(Box::new(text.parse()?))),
            #[cfg(not(feature = "etcd"))]
            "etcd" | "etcds" => Err(InvalidCoordination::WithoutEtcd),
            _ => Err(InvalidCoordination::Unknown),
        }
    }
}

/// One coordinator for each database: their logs have nothing to do with each other.
#[derive(Debug)]
pub(crate) struct Coordinators {
    pub(crate) config_data: Arc<dyn Coordinator>,
    pub(crate) run_data: Arc<dyn Coordinator>,
    #[cfg(feature = "etcd")]
    etcd: Vec<Arc<runyard_datamanager::coordinator::EtcdCoordinator>>,
}

impl Coordinators {
    /// Those of a server that is alone; `holder` is what a server reads from which the storage is taken over.
    pub(crate) fn embedded(holder: &str) -> Self {
        let one = || Arc::new(EmbeddedCoordinator::new().holder(holder));
        Self {
            config_data: one(),
            run_data: one(),
            #[cfg(feature = "etcd")]
            etcd: Vec::new(),
        }
    }

    /// Connects with what was given on the command line.
    ///
    /// # Errors
    /// If etcd cannot be used: the message names each member, and says what to do.
    pub(crate) async fn connect(coordination: &Coordination, holder: &str) -> runyard_datamanager::Result<Self> {
        match coordination {
            Coordination::Embedded => Ok(Self::embedded(holder)),
            #[cfg(feature = "etcd")]
            Coordination::Etcd(settings) => Self::etcd(settings).await,
        }
    }

    #[cfg(feature = "etcd")]
    async fn etcd(settings: &runyard_datamanager::coordinator::EtcdSettings) -> runyard_datamanager::Result<Self> {
        use runyard_datamanager::coordinator::EtcdCoordinator;
        use runyard_runservice_core::RUN_DATA;

        use super::CONFIG_DATA_PATH;
        let connect = async |store: &str| {
            let mut settings = settings.clone();
            settings.prefix = format!("{}/{store}", settings.prefix);
            EtcdCoordinator::connect(settings).await.map(Arc::new)
        };
        let (config_data, run_data) = (connect(CONFIG_DATA_PATH).await?, connect(RUN_DATA).await?);
        let etcd = vec![Arc::clone(&config_data), Arc::clone(&run_data)];
        Ok(Self { config_data, run_data, etcd })
    }

    /// Gives up what is led, so that other servers need not wait until they notice.
    pub(crate) async fn close(&self) {
        #[cfg(feature = "etcd")]
        for etcd in &self.etcd {
            etcd.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_offered_is_refused_with_what_is() {
        assert_eq!("embedded".parse(), Ok(Coordination::Embedded));
        for text in ["", "zookeeper://h:1/p", "embedded://x", "http://u:secret@h", "Embedded"] {
            let refused = text.parse::<Coordination>().expect_err(text).to_string();
            assert!(refused.contains(OFFERED) && !refused.contains("secret"), "{text}: {refused}");
        }
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn an_etcd_is_one_or_what_is_wrong_with_it_is_named() {
        let etcd: Coordination = "etcd://h:1,i:2/p".parse().expect("an etcd");
        assert!(matches!(etcd, Coordination::Etcd(settings) if settings.prefix == "p"));
        for (text, expected) in [("etcd://h/p", "`h` is not HOST:PORT"), ("etcds://h:1", "is not a prefix")] {
            let refused = text.parse::<Coordination>().expect_err(text).to_string();
            assert!(refused.contains(expected) && refused.contains("etcd://HOST:PORT"), "{text}: {refused}");
        }
    }

    #[cfg(not(feature = "etcd"))]
    #[test]
    fn a_build_without_etcd_says_which_one_has_it() {
        for text in ["etcd://h:1/p", "etcds://h:1/p"] {
            let refused = text.parse::<Coordination>().expect_err("not built").to_string();
            assert!(refused.contains("--features etcd"), "{refused}");
        }
    }
}
