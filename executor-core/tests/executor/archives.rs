//! Workspaces and caches.
