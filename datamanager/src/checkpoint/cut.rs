//! Where does a data file end?
//!
//! Asked before each entry while files are streamed, so nothing is known of what comes but an estimate of it all. No file
//! is larger than asked for, unless it holds a single entry; a file and the one after it are together larger than half
//! of that; and if the estimate is right, all of them are about as large.

/// Where files end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    /// Where a file ends that could go on: at the entry that is nearest.
    target: u64,
    size_max: u64,
}

impl Cuts {
    /// As few files as hold `bytes`, of one size.
    pub(crate) fn balanced(bytes: u64, size_max: u64) -> Self {
        let files = bytes.div_ceil(size_max.max(1)).max(1);
        // A single one ends where it must: more may come than was thought.
        let target = if files == 1 { size_max } else { bytes.div_ceil(files) };
        Self { target, size_max }
    }

    /// Full files, and a rest.
    pub(crate) fn full(size_max: u64) -> Self {
        Self { target: size_max, size_max }
    }

    /// Whether a file that has `size` bytes ends before an entry that adds `entry` to it.
    pub(crate) fn ends_before(&self, size: u64, entry: u64) -> bool {
        size > 0 && (size + entry > self.size_max || size + entry / 2 > self.target)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(cuts: Cuts, entries: &[u64]) -> Vec<Vec<u64>> {
        let mut files: Vec<Vec<u64>> = Vec::new();
        for entry in entries {
            match files.last_mut() {
                Some(file) if !cuts.ends_before(file.iter().sum(), *entry) => file.push(*entry),
                _ => files.push(vec![*entry]),
            }
        }
        files
    }

    #[test]
    fn an_oversized_entry_is_alone_wherever_it_is() {
        for entries in [[150, 10, 10, 10], [10, 150, 10, 10], [10, 10, 10, 150]] {
            for estimate in [0, 90, 180, 1_000] {
                for cuts in [Cuts::balanced(estimate, 100), Cuts::full(100)] {
                    let files = cut(cuts, &entries);
                    assert!(files.contains(&vec![150]), "{files:?}");
                }
            }
        }
    }

    #[test]
    fn files_are_of_one_size_and_as_few_as_can_be() {
        for (entries, files) in [(100, 1), (101, 2), (150, 2), (201, 3), (999, 10)] {
            let sizes: Vec<_> =
                cut(Cuts::balanced(entries, 100), &vec![1; entries as usize]).iter().map(Vec::len).collect();
            assert_eq!(sizes.len(), files);
            let (least, most) = (sizes.iter().min().expect("a file"), sizes.iter().max().expect("a file"));
            assert!(most - least <= 2 * files, "{sizes:?}");
        }
    }

    proptest! {
        #[test]
        fn files_keep_the_bounds_whatever_the_estimate(
            entries in prop::collection::vec(prop_oneof![1..30_u64, 1..300_u64], 1..200),
            estimate in 0..20_000_u64,
        ) {
            for cuts in [Cuts::balanced(estimate, 100), Cuts::full(100)] {
                let files = cut(cuts, &entries);
                prop_assert_eq!(files.concat(), entries.clone());
                for file in &files {
                    prop_assert!(file.len() == 1 || file.iter().sum::<u64>() <= 100, "{:?}", file);
                }
                for pair in files.windows(2) {
                    prop_assert!(pair.concat().iter().sum::<u64>() > 50, "{:?}", pair);
                }
            }
        }
    }
}
