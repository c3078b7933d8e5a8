//! How often is a transaction tried that conflicts with others?

use std::{future::Future, sync::Arc};

use crate::{DataManager, Error, Leadership, Position, Result, Tx};

/// How often a conflicting transaction is tried before the conflict is the caller's.
pub(crate) const ATTEMPTS_MAX: usize = 256;

/// Runs `body` on a consistent view and commits what it wrote, if there is a leader, as the leader's; does both again if
/// something that it read changed.
pub(crate) async fn transact<T, E, F, Fut>(
    data: Arc<dyn DataManager>,
    leadership: Option<&Leadership>,
    mut body: F,
) -> Result<(T, Position), E>
where
    F: FnMut(Tx) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: From<Error> + Send,
{
    let mut attempt = 1;
    loop {
        let tx = Tx::begin(Arc::clone(&data));
        let value = body(tx.clone()).await?;
        let committed = match leadership {
            None => tx.finish().await,
            Some(leadership) => {
                let (at, transaction) = tx.into_transaction();
                leadership.commit(&*data, &at, transaction).await
            }
        };
        match committed {
            Ok(position) => return Ok((value, position)),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
