//! Reading the runtime of a task: its containers and their volumes.

use runyard_executor_core::contract::{Arch, Resources};

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::{
    definition::ContainerDefinition,
    node::NodeKind,
    quantity::{parse_milli_quantity, parse_quantity},
};

pub(crate) const CONTAINER: Known =
    Known { always: &["image", "environment", "user", "privileged", "entrypoint", "volumes"], v1: &["resources"] };

pub(crate) const RUNTIME: Known = Known::always(&["type", "arch", "containers"]);
pub(crate) const VOLUME: Known = Known::always(&["path", "tmpfs"]);
pub(crate) const TMPFS: Known = Known::always(&["size"]);
pub(crate) const RESOURCES: Known = Known::always(&["cpu", "memory"]);

impl Reader<'_> {
    /// Reads `runtime`, which every task has.
    pub(super) fn runtime(&mut self, task: &At<'_>, fields: &Fields<'_>) -> (Option<Arch>, Vec<ContainerDefinition>) {
        let Some(at) = fields.get("runtime") else {
            self.error(task, "the task has no runtime", "add `runtime: {containers: [{image: ...}]}`");
            return (None, Vec::new());
        };
        let Some(fields) = self.fields(&at, RUNTIME) else {
            return (None, Vec::new());
        };
        if let Some(kind) = fields.get("type") {
            match self.text(&kind).as_deref() {
                None | Some("" | "pod") => {}
                Some(other) => self.error(&kind, format_args!("the runtime `{other}` is not known"), "write `pod`"),
            }
        }
        let arch = fields.get("arch").and_then(|at| self.arch(&at));
        let containers_at = fields.get("containers");
        let items = containers_at.as_ref().map(|at| self.list(at)).unwrap_or_default();
        let is_list = containers_at.as_ref().is_none_or(|at| matches!(at.node.kind, NodeKind::List(_)));
        if items.is_empty() && is_list {
            let at = containers_at.as_ref().unwrap_or(&at);
            self.error(at, "the runtime has no containers", "add `containers: [{image: ...}]`");
        }
        let containers = items.iter().filter_map(|item| self.container(item)).collect();
        (arch, containers)
    }

    fn arch(&mut self, at: &At<'_>) -> Option<Arch> {
        let text = self.text(at)?;
        if text.is_empty() {
            return None;
        }
        let arch = text.parse().ok();
        if arch.is_none() {
            let message = format!("the architecture `{text}` is not known");
            self.error(at, message, "write 386, amd64, arm or arm64, or leave it out for any");
        }
        arch
    }

    fn container(&mut self, at: &At<'_>) -> Option<ContainerDefinition> {
        let fields = self.fields(at, CONTAINER)?;
        let image = self.text_field(&fields, "image").unwrap_or_default();
        if image.is_empty() {
            let message = "the container has no image, and only executors without containers can run it";
            self.warning(at, message, "add `image`");
        }
        let volumes = fields.get("volumes").map(|at| self.list(&at)).unwrap_or_default();
        Some(ContainerDefinition {
            image,
            environment: self.environment(&fields),
            user: self.text_field(&fields, "user").filter(|user| !user.is_empty()),
            privileged: self.bool_field(&fields, "privileged").unwrap_or(false),
            entrypoint: self.text_field(&fields, "entrypoint").filter(|entrypoint| !entrypoint.is_empty()),
            volumes: volumes.iter().filter_map(|volume| self.volume(volume)).collect(),
            resources: self.resources(&fields),
        })
    }

    fn volume(&mut self, at: &At<'_>) -> Option<(String, u64)> {
        let fields = self.fields(at, VOLUME)?;
        let path = self.text_field(&fields, "path").filter(|path| !path.is_empty());
        if path.is_none() {
            self.error(at, "the volume has no path", "add `path`, where it is mounted");
        }
        let Some(tmpfs) = fields.get("tmpfs") else {
            self.error(at, "the volume has no `tmpfs`", "add `tmpfs: {}`, the only kind of volume there is");
            return None;
        };
        let tmpfs = self.fields(&tmpfs, TMPFS)?;
        let size = tmpfs.get("size").map_or(Some(0), |at| self.quantity(&at, parse_quantity))?;
        Some((path?, size))
    }

    fn resources(&mut self, fields: &Fields<'_>) -> Resources {
        let Some(at) = fields.get("resources") else { return Resources::default() };
        let Some(fields) = self.fields(&at, RESOURCES) else { return Resources::default() };
        Resources {
            milli_cpus: fields.get("cpu").and_then(|at| self.quantity(&at, parse_milli_quantity)),
            memory_max: fields.get("memory").and_then(|at| self.quantity(&at, parse_quantity)),
        }
    }
}
