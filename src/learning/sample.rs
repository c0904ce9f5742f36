//! Draws rows, by a seed.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{SliceRandom, index};

/// How many parts a table is cut into to see how well a tree does on rows that it has not seen.
pub(super) const FOLDS: usize = 5;

/// At most so many of the places 0 to `rows`, in order; all of them where there are no more.
pub(super) fn places(rows: usize, most: usize, seed: u64) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut places = index::sample(&mut rng, rows, most).into_vec();
    places.sort_unstable();
    places
}

/// The fold of each row, such that each fold has the same mixture of classes.
pub(super) fn folds(classes: &[u32], seed: u64) -> Vec<usize> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..classes.len()).collect();
    rows.shuffle(&mut rng);
    // Equal classes keep the order that they were shuffled into.
    rows.sort_by_key(|row| classes[*row]);
    let mut folds = vec![0; classes.len()];
    for (place, row) in rows.into_iter().enumerate() {
        folds[row] = place % FOLDS;
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_what_is_drawn() {
        assert_eq!(places(3, 5, 1), [0, 1, 2]);
        let drawn = places(1000, 10, 1);
        assert_eq!(drawn.len(), 10);
        assert!(drawn.is_sorted() && drawn[9] < 1000);
        assert_eq!(drawn, places(1000, 10, 1));
        assert_ne!(drawn, places(1000, 10, 2));
    }

    #[test]
    fn folds_have_the_same_mixture() {
        let classes: Vec<u32> = (0..100).map(|row| u32::from(row % 10 == 0)).collect();
        let folds = folds(&classes, 7);
        for fold in 0..FOLDS {
            let of = |class| {
                let rows = folds.iter().zip(&classes);
                rows.filter(|row| *row == (&fold, &class)).count()
            };
            assert_eq!((of(0), of(1)), (18, 2));
        }
    }
}
