//! What was announced, by us and by others?

use tokio::sync::watch;

use crate::coordinator::Announced;

/// What was announced, and what of it others still have to hear of. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    board: watch::Sender<Announced>,
    own: watch::Sender<u64>,
}

impl News {
    /// This process announces a number. It is passed on when the last one was; who listens here knows it already.
    pub(super) fn announce(&self, lsn: u64) {
        self.own.send_if_modified(|own| {
            let is_news = lsn > *own;
            *own = lsn.max(*own);
            is_news
        });
        self.board.send_if_modified(|board| {
            board.lsn = lsn.max(board.lsn);
            false
        });
    }

    /// Another process announced a number.
    pub(super) fn heard(&self, lsn: u64) {
        self.board.send_if_modified(|board| {
            let is_news = lsn > board.lsn;
            board.lsn = lsn.max(board.lsn);
            is_news
        });
    }

    /// Another process may have committed something that was not heard of.
    pub(super) fn missed(&self) {
        self.board.send_modify(|board| board.gaps += 1);
    }

    /// For those who want to hear of it.
    pub(super) fn listen(&self) -> watch::Receiver<Announced> {
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
    fn listeners_are_woken_by_what_is_new_to_them_and_by_gaps_and_no_number_falls() {
        let news = News::default();
        let mut listener = news.listen();
        news.announce(7);
        assert_eq!((listener.has_changed().unwrap(), listener.borrow_and_update().lsn), (false, 7));
        for (heard, is_news) in [(5, false), (7, false), (9, true)] {
            news.heard(heard);
            assert_eq!(listener.has_changed().unwrap(), is_news, "{heard}");
            assert_eq!(*listener.borrow_and_update(), Announced { lsn: heard.max(7), gaps: 0 });
        }
        news.missed();
        assert!(listener.has_changed().unwrap());
        assert_eq!(*listener.borrow_and_update(), Announced { lsn: 9, gaps: 1 });
    }

    #[test]
    fn of_many_announcements_the_newest_is_passed_on() {
        let news = News::default();
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
