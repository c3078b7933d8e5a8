//! `install DIR`: how does this program get to where the containers of pods see it?

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The name of the installed program.
pub const PROGRAM: &str = "runyard-toolbox";

/// Puts a copy of this program into `dir`. It appears whole, whoever does the same at the same time.
pub(crate) fn run(dir: &Path) -> io::Result<()> {
    // Not by the process id: in containers of their own, all that do the same have the same.
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let new = dir.join(format!("{PROGRAM}.{}.new", random.trim()));
    let copied = copy(&new, &dir.join(PROGRAM));
    if copied.is_err() {
        // Nobody uses it.
        let _ = fs::remove_file(&new);
    }
    copied
}

fn copy(new: &Path, to: &Path) -> io::Result<()> {
    let mut file = File::create(new)?;
    io::copy(&mut File::open("/proc/self/exe")?, &mut file)?;
    fs::set_permissions(new, Permissions::from_mode(0o755))?;
    file.sync_all()?;
    drop(file);
    fs::rename(new, to)
}

/// A tar archive that holds nothing but the program at `program`, executable, as [`PROGRAM`]: what an image is made of in
/// which the toolbox can install itself.
///
/// # Errors
/// If the file cannot be read.
pub fn layer(program: &Path) -> io::Result<Vec<u8>> {
    let content = fs::read(program)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::with_capacity(content.len() + 4096));
    archive.append_data(&mut header, PROGRAM, &content[..])?;
    archive.into_inner()
}
