//! How are bytes read with and without waiting for the disk?

use rustix::{
    fd::OwnedFd,
    io::{Errno, pread},
};

/// Reads until the buffer is full or the file ends; waits for the disk if need be.
pub(super) fn read(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(file, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

/// Reads what the kernel has in memory, which may be less than fits; nothing if nobody can tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn read_in_memory(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<Option<usize>, Errno> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    match preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT) {
        // At the end of the file, and for file systems and kernels that do not know the flag.
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Ok(read) => Ok(Some(read)),
        Err(errno) => Err(errno),
    }
}

/// Reads what the kernel has in memory: here nobody can tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn read_in_memory(_: &OwnedFd, _: &mut [u8], _: u64) -> Result<Option<usize>, Errno> {
    Ok(None)
}
