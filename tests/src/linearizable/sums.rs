//! Which sets of numbers add up to a number: all sums of one half, and for each the sums of the
//! other half that fit.

use std::collections::HashMap;

/// Numbers of which all sets are looked at; of older ones at most one at a time joins in.
const DENSE_MAX: usize = 24;

/// A set of at most [`DENSE_MAX`] numbers, one bit each.
type Set = u32;

/// The sums of some numbers, each with a name.
#[derive(Debug)]
pub(super) struct Sums {
    /// The newest numbers, whose sets are all looked at.
    dense: Vec<(usize, i64)>,
    older: Vec<(usize, i64)>,
    left: Vec<(i64, Set)>,
    right: HashMap<i64, Vec<Set>>,
}

impl Sums {
    /// Takes numbers, oldest first.
    pub(super) fn of(mut numbers: Vec<(usize, i64)>) -> Self {
        let dense = numbers.split_off(numbers.len().saturating_sub(DENSE_MAX));
        let half = dense.len() / 2;
        let mut right = HashMap::<i64, Vec<Set>>::new();
        for (sum, set) in subsets(&dense, half..dense.len()) {
            right.entry(sum).or_default().push(set);
        }
        Self { left: subsets(&dense, 0..half), right, dense, older: numbers }
    }

    /// Whether every set is looked at.
    pub(super) fn are_all(&self) -> bool {
        self.older.is_empty()
    }

    /// How many sets one question looks at.
    pub(super) fn cost(&self) -> usize {
        self.left.len() * (1 + self.older.len())
    }

    /// Returns the names in each set, but the empty one, that adds up to `sum`.
    pub(super) fn that_make(&self, sum: i64) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        for older in std::iter::once(None).chain(self.older.iter().map(Some)) {
            let rest = sum - older.map_or(0, |(_, number)| *number);
            for (of_left, left) in &self.left {
                for right in self.right.get(&(rest - of_left)).into_iter().flatten() {
                    let names = self.names(left | right);
                    let set: Vec<usize> =
                        older.map(|(name, _)| *name).into_iter().chain(names).collect();
                    found.extend(Some(set).filter(|set| !set.is_empty()));
                }
            }
        }
        found
    }

    fn names(&self, set: Set) -> impl Iterator<Item = usize> {
        let dense = self.dense.iter().enumerate();
        dense.filter(move |(bit, _)| set & (1 << bit) != 0).map(|(_, (name, _))| *name)
    }
}

/// Returns all sets of the numbers at these places, with their sums.
fn subsets(numbers: &[(usize, i64)], places: std::ops::Range<usize>) -> Vec<(i64, Set)> {
    let mut all = vec![(0, 0)];
    for bit in places {
        for at in 0..all.len() {
            let (sum, set): (i64, Set) = all[at];
            all.push((sum + numbers[bit].1, set | (1 << bit)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_that_fits_is_found_but_the_empty_one() {
        let sums = Sums::of(vec![(10, 1), (11, 2), (12, 3), (13, -3)]);
        let mut found = sums.that_make(3);
        found.iter_mut().for_each(|set| set.sort_unstable());
        found.sort();
        assert_eq!(found, [vec![10, 11], vec![10, 11, 12, 13], vec![12]]);
        assert_eq!(sums.that_make(0).len(), 2, "1 + 2 - 3 and 3 - 3");
        assert_eq!(sums.that_make(100), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn of_old_numbers_one_joins_in() {
        let numbers: Vec<_> = (0..40).map(|at| (at, 1_i64 << at)).collect();
        let sums = Sums::of(numbers);
        assert!(!sums.are_all());
        assert_eq!(sums.that_make((1 << 3) + (1 << 30) + (1 << 39)).len(), 1);
        assert_eq!(sums.that_make((1 << 3) + (1 << 4)).len(), 0);
    }
}
