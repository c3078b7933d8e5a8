//! Where is the toolbox that supervises the steps of these tests?

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The program `runyard-toolbox`, built if it is absent or older than its sources.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of the test");
        let profile_dir = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
        let program = profile_dir.join("runyard-toolbox");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("toolbox");
        let built = fs::metadata(&program).and_then(|metadata| metadata.modified());
        if built.map_or(true, |built| built < newest(&sources)) {
            build(profile_dir);
        }
        program
    })
}

fn newest(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).expect("the sources of the toolbox");
    let modified = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        if metadata.is_dir() { newest(&entry.path()) } else { metadata.modified().expect("its time") }
    });
    modified.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(profile_dir: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "runyard-toolbox", "--bin", "runyard-toolbox"]);
    cargo.arg("--target-dir").arg(profile_dir.parent().expect("the target directory"));
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo starts").success(), "the toolbox was not built");
}
