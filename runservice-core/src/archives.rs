//! How large may an archive be that is streamed in?

use futures::{StreamExt, stream};
use runyard_executor_core::contract::ByteStream;

/// The same archive, which fails once it has more bytes than that: nothing of it is stored then.
pub(crate) fn limited(archive: ByteStream, bytes_max: u64) -> ByteStream {
    let state = (archive, 0_u64);
    stream::try_unfold(state, move |(mut archive, before)| async move {
        let Some(bytes) = archive.next().await.transpose()? else { return Ok(None) };
        let bytes_now = before + bytes.len() as u64;
        if bytes_now > bytes_max {
            return Err(
                format!("it is larger than {bytes_max} bytes, which is the most that the run service takes").into()
            );
        }
        Ok(Some((bytes, (archive, bytes_now))))
    })
    .boxed()
}
