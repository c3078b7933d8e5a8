//! What was announced, by us and by others?

use tokio::sync::watch;

/// The largest number that was announced, and what of it others still have to hear of.
#[derive(Debug)]
pub(super) struct News {
    board: watch::Sender<u64>,
    own: watch::Sender<u64>,
}

impl News {
    pub(super) fn new() -> Self {
        Self { board: watch::Sender::new(0), own: watch::Sender::new(0) }
    }

    /// This process announces a number. It is passed on when the last one was; who listens here knows it already.
    pub(super) fn announce(&self, lsn: u64) {
        self.own.send_if_modified(|own| {
            let is_news = lsn > *own;
            *own = lsn.max(*own);
            is_news
        });
        self.board.send_if_modified(|board| {
            *board = lsn.max(*board);
            false
        });
    }

    /// Another process announced a number, or may have: who listens here looks, even if the number is not new.
    pub(super) fn heard(&self, lsn: u64) {
        self.board.send_modify(|board| *board = lsn.max(*board));
    }

    /// For those who want to hear of it.
    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.board.subscribe()
    }

    /// The newest number that others have to hear of.
    pub(super) fn to_pass_on(&self) -> watch::Receiver<u64> {
        self.own.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_woken_by_others_whatever_the_number_and_never_see_it_fall() {
        let news = News::new();
        let mut listener = news.listen();
        news.announce(7);
        assert_eq!((listener.has_changed().unwrap(), *listener.borrow_and_update()), (false, 7));
        for heard in [5, 7, 9] {
            news.heard(heard);
            assert!(listener.has_changed().unwrap(), "{heard}");
            assert_eq!(*listener.borrow_and_update(), heard.max(7));
        }
    }

    #[test]
    fn of_many_announcements_the_newest_is_passed_on() {
        let news = News::new();
        let mut own = news.to_pass_on();
        for lsn in [1, 3, 2] {
            news.announce(lsn);
        }
        assert!(own.has_changed().unwrap());
        assert_eq!(*own.borrow_and_update(), 3);
        news.announce(3);
        news.heard(9);
        assert!(!own.has_changed().unwrap());
    }
}
